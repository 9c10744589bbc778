// `npm run bench [-- --only NAME --rounds N]` and `npm run bench:controller [-- --tenants N …]`: builds, sets up, measures, prints tables.
import { parseArgs } from 'node:util'
import { show } from './run.mjs'

/** By name: numbers that may be given, with their variables, and what is run. */
const suites = {
  speed: {
    usage: 'npm run bench -- [--only SCENARIO] [--rounds N]',
    numbers: { rounds: '5' },
    after: ['scripts/performance.mjs'],
  },
  controller: {
    usage: 'npm run bench:controller -- [--tenants N] [--idle-tenants N] [--idle-minutes N] [--edits N]',
    numbers: { tenants: '2000', 'idle-tenants': '5000', 'idle-minutes': '10', edits: '200' },
    after: undefined,
  },
}

const name = process.argv[2] === 'controller' ? 'controller' : 'speed'
const { after, numbers, usage } = suites[name]

function asked() {
  try {
    const options = { only: { type: 'string', default: '' } }
    for (const [number, usual] of Object.entries(numbers))
      Object.assign(options, { [number]: { type: 'string', default: usual } })
    const { values } = parseArgs({
      args: process.argv.slice(3),
      options: /** @type {Record<string, { type: 'string', default: string }>} */ (options),
    })
    const { only = '', ...rest } = values
    const good = Object.values(rest).every((value) => /^\d+$/.test(value))
    return good && /^[\w-]*$/.test(only) ? { only, rest } : undefined
  } catch {
    return undefined
  }
}

const wishes = asked()
if (!wishes) {
  console.error(`usage: ${usage}`)
  process.exit(2)
}

/** @type {Record<string, string>} */
const env = {}
for (const [number, value] of Object.entries(wishes.rest))
  env[`PARLEY_BENCH_${number.toUpperCase().replaceAll('-', '_')}`] = value

/** @param {string[]} args */
const shown = (...args) => show('node', args, env)

process.exitCode =
  (await shown('scripts/build.mjs')) ||
  (await shown('scripts/test-setup.mjs')) ||
  (await shown(
    'node_modules/vitest/vitest.mjs',
    'run',
    // First: an option before it would take it for its value.
    `bench/${name}/${wishes.only}`,
    '--config=vitest.bench.config.ts',
    '--reporter=default',
    '--disable-console-intercept',
  )) ||
  (after ? await shown(...after) : 0)
