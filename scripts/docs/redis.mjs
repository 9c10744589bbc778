// Generates docs/reference/redis-permissions.md: the permissions that Parley's Redis user needs.
import { neededClusterGrants, neededGrants } from '../../dist/redis/permissions.js'
import { generatedNote } from './table.mjs'

export function redisPermissionsPage() {
  return `${generatedNote}
# Redis permissions

The Redis user of Parley needs these permissions. \`parley gateway\` checks them at start and names those that
are missing.

\`\`\`text
ACL SETUSER parley on >a-long-password ${neededGrants.join(' ')}
\`\`\`

In a Redis Cluster, create the user on every node, with these additional grants:

\`\`\`text
${neededClusterGrants.join(' ')}
\`\`\`
`
}
