// docs/reference/redis-permissions.md: what Parley's Redis user must be allowed.
import { neededClusterGrants, neededGrants } from '../../dist/redis/permissions.js'
import { generatedNote } from './table.mjs'

export function redisPermissionsPage() {
  return `${generatedNote}
# Redis permissions

\`parley gateway\` checks these when it starts, and names those that are missing.

\`\`\`text
ACL SETUSER parley on >a-long-password ${neededGrants.join(' ')}
\`\`\`

In a Cluster each node needs to know the user, and grants besides:

\`\`\`text
${neededClusterGrants.join(' ')}
\`\`\`
`
}
