// `npm run fuzz -- [--minutes N] [--seed N] [--only TARGET] [--replay FILE]`: builds dist, then sends mutated
// frames and requests to a gateway.
import { exitWithUsage, parseOptions } from './parse-options.mjs'
import { show } from './run.mjs'

const usage = `usage: npm run fuzz -- [--minutes N] [--seed N] [--only TARGET] [--replay FILE]

  --minutes N    how long to send mutated inputs; default 10
  --seed N       chooses the mutations; default: another one each time
  --only TARGET  chat, centrifuge-json, centrifuge-protobuf, api or http
  --replay FILE  sends only the input in this file`

const { minutes, only, replay, seed } = parseOptions(
  {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string', default: '' },
    replay: { type: 'string', default: '' },
  },
  usage,
)
if (!/^[1-9]\d{0,4}$/.test(minutes) || !/^\d{1,9}$/.test(seed)) exitWithUsage(usage)
const env = {
  PARLEY_FUZZ_MINUTES: minutes,
  PARLEY_FUZZ_SEED: seed,
  PARLEY_FUZZ_ONLY: only,
  PARLEY_FUZZ_REPLAY: replay,
}

process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', 'test/fuzz/fuzz.test.ts'], env))
