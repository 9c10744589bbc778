// Writes docs/reference from the code that the pages describe. With --check it writes nothing and fails when a page is not current.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codesPage } from './docs/codes.mjs'
import { commandsPage } from './docs/commands.mjs'
import { conditionsPage } from './docs/conditions.mjs'
import { metricsPage } from './docs/metrics.mjs'
import { openApiPage } from './docs/openapi.mjs'
import { redisPermissionsPage } from './docs/redis.mjs'
import { resourcesPage } from './docs/resources.mjs'
import { root } from './run.mjs'

/** @type {Record<string, string>} */
const pages = {
  'docs/reference/codes.md': codesPage(),
  'docs/reference/commands.md': commandsPage(),
  'docs/reference/conditions.md': conditionsPage(),
  'docs/reference/metrics.md': await metricsPage(),
  'docs/reference/openapi.json': openApiPage(),
  'docs/reference/redis-permissions.md': redisPermissionsPage(),
  'docs/reference/resources.md': resourcesPage(),
}

const check = process.argv.includes('--check')
for (const [path, text] of Object.entries(pages)) {
  const file = join(root, path)
  const written = await readFile(file, 'utf8').catch(() => '')
  if (written === text) continue
  if (check) {
    console.error(`${path} is not what the code says: run "npm run docs" and commit it`)
    process.exitCode = 1
  } else {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
    console.log(`wrote ${path}`)
  }
}
