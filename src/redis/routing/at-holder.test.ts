import { expect, test } from 'vitest'
import { systemClock } from '../../time.js'
import type { Locator } from '../topology/locator.js'
import { singleShardMap } from '../topology/single-shard.js'
import { atHolder } from './at-holder.js'
import { RedirectedError } from './redirects.js'

test('a call that is always redirected is retried with growing pauses, and fails after its time limit', async () => {
  let calls = 0
  const call = async () => {
    calls += 1
    throw new RedirectedError('CLUSTERDOWN')
  }
  const result = atHolder(singleShardMap({} as Locator), 1, call, { clock: systemClock, patienceMs: 1_000 })
  await expect(result).rejects.toThrow('CLUSTERDOWN')
  // The calls begin at 0, 50, 150, 350, 750 and 1,150 ms, or later.
  expect(calls).toBeLessThanOrEqual(6)
})
