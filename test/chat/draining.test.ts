// The end of a drain: every leave is announced before the broker is closed.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Announcement, ChannelRef } from '../../src/broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { drain } from '../../src/gateway/fleet/drain.js'
import { MemoryPresence } from '../../src/presence/memory.js'
import { systemClock } from '../../src/time.js'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { until } from '../support/redis-processes.js'

/** Answers like Redis on a busy machine: a removal waits until the test allows it. */
class SlowPresence extends MemoryPresence {
  readonly answer = new AbortController()

  override async remove(...args: Parameters<MemoryPresence['remove']>) {
    await once(this.answer.signal, 'abort')
    return super.remove(...args)
  }
}

test('a drain ends only after every leave is announced, however late presence answers', async () => {
  const happened: string[] = []
  class RecordingBroker extends MemoryBroker {
    override async announce(ref: ChannelRef, announcement: Announcement): Promise<void> {
      if (ref.channel === 'general') happened.push(announcement.kind)
      return super.announce(ref, announcement)
    }
  }
  const presence = new SlowPresence({ clock: systemClock })
  const broker = new RecordingBroker(new MemoryBrokerData({ clock: systemClock }))
  const target = await gatewayFor({}, { broker, presence })
  const ann = await chatAs(target, 'ann')
  await joined(ann, 'general')
  await until('the join of ann', () => happened.includes('join'))

  const draining = drain(target.gateway.context, { windowMs: 0, sleep }).then(() => happened.push('over'))
  expect(await ann.closed()).toMatchObject({ code: 3001 })
  presence.answer.abort()
  await draining
  expect(happened).toEqual(['join', 'leave', 'over'])
})
