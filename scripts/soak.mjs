// `npm run soak -- [--minutes N] [--seed N]`: builds dist, then mixes load, faults and hostile clients for
// the given time.
import { exitWithUsage, parseOptions } from './parse-options.mjs'
import { show } from './run.mjs'

const usage = 'usage: npm run soak -- [--minutes N] [--seed N]'
const values = parseOptions(
  { minutes: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
  usage,
)
if (!/^[1-9]\d{0,4}$/.test(values.minutes) || !/^\d{1,9}$/.test(values.seed)) exitWithUsage(usage)

process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.soak.config.ts'], {
    PARLEY_SOAK_MINUTES: values.minutes,
    PARLEY_SOAK_SEED: values.seed,
  }))
