// The fuzzer: kept and mutated inputs against a live gateway on a real Redis. `npm run fuzz` runs it for
// longer; CONTRIBUTING.md says how.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { Campaign } from './campaign.js'
import { fromText, readCorpus, targetNames } from './input.js'
import { seenCodes } from './websocket-targets.js'

const { env } = process
const minutes = Number(env['PARLEY_FUZZ_MINUTES'] ?? 0)
const seed = Number(env['PARLEY_FUZZ_SEED'] ?? 14)
const only = env['PARLEY_FUZZ_ONLY'] ?? ''
const replay = env['PARLEY_FUZZ_REPLAY'] ?? ''
/** Without a time: as many inputs as take about half a minute. */
const inputs = minutes > 0 ? Infinity : 2_500
const durationMs = minutes > 0 ? minutes * 60_000 : Infinity

test('the corpus has inputs for every target', async () => {
  const targets = [...(await readCorpus()).values()].map(({ target }) => target)
  expect(new Set(targets)).toEqual(new Set(targetNames))
})

const what = replay === '' ? `seed ${seed}` : replay

test(`${what} breaks nothing`, { timeout: (minutes + 10) * 60_000 }, async () => {
  const campaign = await Campaign.start({ seed, inputs, durationMs, only })
  try {
    const failure =
      replay === ''
        ? await campaign.run()
        : await campaign.runOne(await fromText(await readFile(replay, 'utf8')))
    console.log(
      `fuzz: seed ${seed}, ${campaign.ran} inputs, ${campaign.received} messages of the other tenant`,
    )
    const codes = [...seenCodes].toSorted(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${count}`)
    console.log(`fuzz: ${codes.join(', ')}`)
    if (failure !== undefined) throw new Error(failure)
    expect(campaign.received).toBeGreaterThan(0)
  } finally {
    await campaign.end()
  }
})
