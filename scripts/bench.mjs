// `npm run bench [-- --only NAME[,NAME …] --rounds N]` and `npm run bench:controller [-- --tenants N …]`:
// builds dist, provides the required programs, runs the benchmarks and prints tables.
import { parseArgs } from 'node:util'
import { show } from './run.mjs'

/** The suites by name: usage, numeric options with their defaults, and the script that runs afterwards. */
const suites = {
  speed: {
    usage: 'npm run bench -- [--only SCENARIO[,SCENARIO …]] [--rounds N]',
    numbers: { rounds: '5' },
    after: ['scripts/performance.mjs'],
  },
  controller: {
    usage:
      'npm run bench:controller -- [--only controller|neighbours] [--tenants N] [--idle-tenants N] ' +
      '[--idle-minutes N] [--edits N] [--flood N]',
    numbers: { tenants: '2000', 'idle-tenants': '5000', 'idle-minutes': '10', edits: '200', flood: '2000' },
    after: undefined,
  },
}

const name = process.argv[2] === 'controller' ? 'controller' : 'speed'
const { after, numbers, usage } = suites[name]

/** Parses the command line; undefined when it is invalid. */
function parseOptions() {
  try {
    const options = { only: { type: 'string', default: '' } }
    for (const [number, standard] of Object.entries(numbers))
      Object.assign(options, { [number]: { type: 'string', default: standard } })
    const { values } = parseArgs({
      args: process.argv.slice(3),
      options: /** @type {Record<string, { type: 'string', default: string }>} */ (options),
    })
    const { only = '', ...rest } = values
    const valid = Object.values(rest).every((value) => /^\d+$/.test(value))
    return valid && /^[\w-]*(,[\w-]+)*$/.test(only) ? { only, rest } : undefined
  } catch {
    return undefined
  }
}

const options = parseOptions()
if (!options) {
  console.error(`usage: ${usage}`)
  process.exit(2)
}

/** @type {Record<string, string>} */
const env = {}
for (const [number, value] of Object.entries(options.rest))
  env[`PARLEY_BENCH_${number.toUpperCase().replaceAll('-', '_')}`] = value

/** @param {string[]} args */
const run = (...args) => show('node', args, env)

process.exitCode =
  (await run('scripts/build.mjs')) ||
  (await run('scripts/test-setup.mjs')) ||
  (await run(
    'node_modules/vitest/vitest.mjs',
    'run',
    // The filters come first, because an option in front of them would consume them as its value.
    ...options.only.split(',').map((scenario) => `bench/${name}/${scenario}`),
    '--config=vitest.bench.config.ts',
    '--reporter=default',
    '--disable-console-intercept',
  )) ||
  (after ? await run(...after) : 0)
