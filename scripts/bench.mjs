// `npm run bench:controller [-- --tenants N --idle-tenants N --idle-minutes N --edits N]`: builds, sets up, measures, prints tables.
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { root } from './run.mjs'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    tenants: { type: 'string', default: '2000' },
    'idle-tenants': { type: 'string', default: '5000' },
    'idle-minutes': { type: 'string', default: '10' },
    edits: { type: 'string', default: '200' },
  },
})
const wrong = Object.entries(values).filter(([, value]) => !/^\d+$/.test(value))
if (wrong.length > 0 || positionals.length !== 1 || positionals[0] !== 'controller') {
  console.error(
    'usage: npm run bench:controller -- [--tenants N] [--idle-tenants N] [--idle-minutes N] [--edits N]',
  )
  process.exit(2)
}

/** @param {string[]} args @returns {Promise<number>} */
const shown = (...args) =>
  new Promise((resolve) => {
    const env = {
      ...process.env,
      PARLEY_BENCH_TENANTS: values.tenants,
      PARLEY_BENCH_IDLE_TENANTS: values['idle-tenants'],
      PARLEY_BENCH_IDLE_MINUTES: values['idle-minutes'],
      PARLEY_BENCH_EDITS: values.edits,
    }
    spawn('node', args, { cwd: root, stdio: 'inherit', env }).on('close', (code) => resolve(code ?? 1))
  })

process.exitCode =
  (await shown('scripts/build.mjs')) ||
  (await shown('scripts/test-setup.mjs')) ||
  (await shown(
    'node_modules/vitest/vitest.mjs',
    'run',
    '-c',
    'vitest.bench.config.ts',
    '--reporter=default',
    '--disable-console-intercept',
  ))
