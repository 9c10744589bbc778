// The import graph of ARCHITECTURE.md: which room of src imports which, read from the import statements
// themselves.
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { root } from '../run.mjs'
import { table } from './table.mjs'

/** Files that never reach dist: tests, contract suites, fakes and test helpers. */
const testFile = /\.(test|contract|fake|testing)\.ts$/

/**
 * Returns the relative paths that a source file imports or re-exports, static and dynamic imports and type
 * imports included.
 * @param {string} text
 * @returns {string[]}
 */
export function relativeImports(text) {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map(([, path = '']) => path)
}

/**
 * What each room is for, and the file in which to start reading.
 * @typedef {{ purpose: string, entry: string }} Room
 */

/**
 * The rooms from the highest floor to the lowest.
 * @type {Record<string, Room>[]}
 */
const floors = [
  { cli: { purpose: 'The program: commands, options, configuration, wiring', entry: 'cli/program.ts' } },
  {
    gateway: { purpose: 'Sockets, HTTP, the server API, fan-out, the fleet', entry: 'gateway/gateway.ts' },
    controller: {
      purpose: 'Reconciles resources into the catalog and Secrets',
      entry: 'controller/controller.ts',
    },
  },
  {
    session: { purpose: 'One connected client: commands, subscriptions, quota', entry: 'session/session.ts' },
    compile: { purpose: 'Turns resources into the policy of a tenant', entry: 'compile/tenant.ts' },
    kube: { purpose: 'What any controller needs, and nothing of Parley', entry: 'kube/ports.ts' },
  },
  {
    auth: { purpose: 'Verifies tokens and fetches key sets', entry: 'auth/token.ts' },
    presence: { purpose: 'Knows which clients are in a channel', entry: 'presence/presence.ts' },
    catalog: { purpose: 'Brings compiled policies to every gateway', entry: 'catalog/catalog.ts' },
    revocation: { purpose: 'Shares the revocations that backends make', entry: 'revocation/store.ts' },
    quota: { purpose: 'Counts connections and shares rates in the cluster', entry: 'quota/ledger.ts' },
    protocol: { purpose: 'Codecs: bytes to commands, replies to bytes', entry: 'protocol/commands.ts' },
  },
  {
    resources: { purpose: 'Schemas of the custom resources, CRDs, problems', entry: 'resources/common.ts' },
    broker: { purpose: 'Carries publications and keeps history', entry: 'broker/broker.ts' },
  },
  { tenant: { purpose: 'Policy, channel rules, names, claims', entry: 'tenant/policy.ts' } },
  { redis: { purpose: 'Connections to one Redis, Sentinels or a Cluster', entry: 'redis/link.ts' } },
]

/**
 * Rooms that stand beside the floors: they import only leaves and their own files.
 * @type {Record<string, Room>}
 */
const beside = {
  load: { purpose: 'Load for `parley bench`', entry: 'load/load-generator.ts' },
  web: { purpose: 'The chat page of `parley dev`, in the browser', entry: 'web/page.ts' },
}

/**
 * @typedef {Map<string, Map<string, number>>} Graph importing room, imported room, number of import
 * statements
 */

/** @returns {Promise<Graph>} without tests, leaves, and imports inside one room */
async function roomImports() {
  const source = join(root, 'src')
  const names = (await readdir(source, { recursive: true })).map((name) => name.replaceAll('\\', '/'))
  /** @type {Graph} */
  const graph = new Map()
  for (const name of names.toSorted()) {
    if (!name.endsWith('.ts') || name.endsWith('.d.ts') || testFile.test(name)) continue
    const from = roomOf(name)
    if (from === undefined) continue
    const imports = graph.get(from) ?? new Map()
    graph.set(from, imports)
    for (const path of relativeImports(await readFile(join(source, name), 'utf8'))) {
      const to = roomOf(posix.join(dirname(name), path))
      if (to !== undefined && to !== from) imports.set(to, (imports.get(to) ?? 0) + 1)
    }
  }
  return graph
}

/** @param {string} name from src; a file directly in src is a leaf, and in no room */
function roomOf(name) {
  return name.includes('/') ? name.split('/')[0] : undefined
}

/** @returns {Promise<string>} a drawing and a table, in Markdown */
export async function importGraph() {
  const graph = await roomImports()
  const floorsAndBeside = [...floors, beside]
  const rooms = new Set(floorsAndBeside.flatMap((floor) => Object.keys(floor)))
  const unknown = [...graph.keys()].filter((room) => !rooms.has(room))
  if (unknown.length > 0)
    throw new Error(`scripts/docs/import-graph.mjs has no floor for ${unknown.join(', ')}`)
  return [drawing(graph), '', roomTable(graph)].join('\n')
}

/**
 * Only the arrows that no longer way implies: the table has all of them.
 * @param {Graph} graph
 */
function drawing(graph) {
  const arrows = [...graph].flatMap(([from, imports]) =>
    [...imports.keys()]
      .filter((to) => ![...imports.keys()].some((between) => between !== to && reaches(graph, between, to)))
      .map((to) => `  ${from} --> ${to}`),
  )
  const ranks = floors.map(
    (floor, index) =>
      `  subgraph floor${floors.length - index}[" "]\n    direction LR\n${Object.keys(floor)
        .map((room) => `    ${room}`)
        .join('\n')}\n  end`,
  )
  return ['```mermaid', 'flowchart TB', ...ranks, ...arrows.toSorted(), '```'].join('\n')
}

/**
 * @param {Graph} graph
 * @param {string} from
 * @param {string} to
 * @returns {boolean}
 */
function reaches(graph, from, to) {
  return [...(graph.get(from)?.keys() ?? [])].some((next) => next === to || reaches(graph, next, to))
}

/** @param {Graph} graph */
function roomTable(graph) {
  const order = floors.flatMap((floor) => Object.keys(floor))
  const rows = [...floors, beside].flatMap((floor, index) =>
    Object.entries(floor).map(([room, { entry, purpose }]) => {
      const imports = [...(graph.get(room)?.keys() ?? [])].toSorted(
        (a, b) => order.indexOf(a) - order.indexOf(b),
      )
      const number = floor === beside ? 'beside' : String(floors.length - index)
      return [number, `\`${room}\``, purpose, `[${entry}](src/${entry})`, imports.join(', ') || 'leaves only']
    }),
  )
  return table(['floor', 'room', 'purpose', 'start reading at', 'imports'], rows)
}
