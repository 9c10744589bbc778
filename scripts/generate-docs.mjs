// Writes docs/reference from the code that the pages describe. With --check it writes nothing and fails when a page is not current.
import { codesPage } from './docs/codes.mjs'
import { commandsPage } from './docs/commands.mjs'
import { conditionsPage } from './docs/conditions.mjs'
import { metricsPage } from './docs/metrics.mjs'
import { openApiPage } from './docs/openapi.mjs'
import { redisPermissionsPage } from './docs/redis.mjs'
import { resourcesPage } from './docs/resources.mjs'
import { putGenerated } from './generated.mjs'

const pages = {
  'docs/reference/codes.md': codesPage(),
  'docs/reference/commands.md': commandsPage(),
  'docs/reference/conditions.md': conditionsPage(),
  'docs/reference/metrics.md': await metricsPage(),
  'docs/reference/openapi.json': openApiPage(),
  'docs/reference/redis-permissions.md': redisPermissionsPage(),
  'docs/reference/resources.md': resourcesPage(),
}

for (const [path, text] of Object.entries(pages)) await putGenerated(path, text, 'npm run docs')
