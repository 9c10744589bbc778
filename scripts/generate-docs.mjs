// Generates manifests/crds, docs/reference, and the import graph of ARCHITECTURE.md, from the code that they
// describe. With --check it writes nothing, and fails when a file is not up to date.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crdYaml } from '../dist/resources/crd-yaml.js'
import { customResourceDefinitions } from '../dist/resources/crd.js'
import { codesPage } from './docs/codes.mjs'
import { commandsPage } from './docs/commands.mjs'
import { conditionsPage } from './docs/conditions.mjs'
import { importGraph } from './docs/import-graph.mjs'
import { metricsPage } from './docs/metrics.mjs'
import { openApiPage } from './docs/openapi.mjs'
import { redisPermissionsPage } from './docs/redis.mjs'
import { resourcesPage } from './docs/resources.mjs'
import { putGenerated } from './generated.mjs'
import { root } from './run.mjs'

/** Returns the page with a new graph between its two markers. */
async function architecturePage() {
  const page = await readFile(join(root, 'ARCHITECTURE.md'), 'utf8')
  const marked = /(<!-- import graph: .*? -->\n)[^]*?(<!-- end of the import graph -->)/
  if (!marked.test(page)) throw new Error('ARCHITECTURE.md has no markers for the import graph')
  const graph = await importGraph()
  return page.replace(marked, (_, begin, end) => `${begin}\n${graph}\n${end}`)
}

const crds = customResourceDefinitions().map((definition) => [
  `manifests/crds/${definition.file}`,
  crdYaml(definition),
])

/** @type {Record<string, string>} */
const pages = {
  ...Object.fromEntries(crds),
  'ARCHITECTURE.md': await architecturePage(),
  'docs/reference/codes.md': codesPage(),
  'docs/reference/commands.md': commandsPage(),
  'docs/reference/conditions.md': conditionsPage(),
  'docs/reference/metrics.md': await metricsPage(),
  'docs/reference/openapi.json': openApiPage(),
  'docs/reference/redis-permissions.md': redisPermissionsPage(),
  'docs/reference/resources.md': resourcesPage(),
}

for (const [path, text] of Object.entries(pages)) await putGenerated(path, text, 'npm run docs')
