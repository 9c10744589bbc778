// `npm run fuzz -- [--minutes N] [--seed N] [--only TARGET] [--replay FILE]`: builds dist, then sends mutated
// frames and requests to a gateway.
import { parseArgs } from 'node:util'
import { show } from './run.mjs'

const usage = `usage: npm run fuzz -- [--minutes N] [--seed N] [--only TARGET] [--replay FILE]

  --minutes N    how long to send mutated inputs; default 10
  --seed N       chooses the mutations; default: another one each time
  --only TARGET  chat, centrifuge-json, centrifuge-protobuf, api or http
  --replay FILE  sends only the input in this file`

/** @returns {Record<string, string> | undefined} */
function environment() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '10' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        only: { type: 'string', default: '' },
        replay: { type: 'string', default: '' },
      },
    })
    const { minutes, only, replay, seed } = values
    if (!/^[1-9]\d{0,4}$/.test(minutes) || !/^\d{1,9}$/.test(seed)) return undefined
    return {
      PARLEY_FUZZ_MINUTES: minutes,
      PARLEY_FUZZ_SEED: seed,
      PARLEY_FUZZ_ONLY: only,
      PARLEY_FUZZ_REPLAY: replay,
    }
  } catch {
    return undefined
  }
}

const env = environment()
if (!env) {
  console.error(usage)
  process.exit(2)
}

process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', 'test/fuzz/fuzz.test.ts'], env))
