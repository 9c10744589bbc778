// `npm run soak -- [--minutes N] [--seed N]`: builds dist, then mixes load, faults and hostile clients for
// the given time.
import { parseArgs } from 'node:util'
import { show } from './run.mjs'

/** Parses the command line; undefined when it is invalid. */
function parseOptions() {
  try {
    const { values } = parseArgs({
      options: { minutes: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
    })
    const valid = /^[1-9]\d{0,4}$/.test(values.minutes) && /^\d{1,9}$/.test(values.seed)
    return valid ? values : undefined
  } catch {
    return undefined
  }
}

const values = parseOptions()
if (!values) {
  console.error('usage: npm run soak -- [--minutes N] [--seed N]')
  process.exit(2)
}

process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.soak.config.ts'], {
    PARLEY_SOAK_MINUTES: values.minutes,
    PARLEY_SOAK_SEED: values.seed,
  }))
