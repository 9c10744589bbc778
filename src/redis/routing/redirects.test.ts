import { expect, test } from 'vitest'
import { systemClock } from '../../time.js'
import { atHolder, ElsewhereError } from './redirects.js'
import type { Locator } from '../topology/locator.js'
import { oneShard } from '../topology/shards.js'

test('whoever is always sent elsewhere asks more and more seldom, and is refused in the end', async () => {
  let calls = 0
  const call = async () => {
    calls += 1
    throw new ElsewhereError('CLUSTERDOWN')
  }
  const asked = atHolder(oneShard({} as Locator), 1, call, { clock: systemClock, patienceMs: 1_000 })
  await expect(asked).rejects.toThrow('CLUSTERDOWN')
  // At 0, 50, 150, 350, 750 and 1,150 ms, or later.
  expect(calls).toBeLessThanOrEqual(6)
})
