// The end of a gateway: nothing that is still to be said of its people may be lost with the broker that says it.
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

/** As Redis on a busy machine: it forgets nobody until it is told to. */
class SlowPresence extends MemoryPresence {
  readonly answer = new AbortController()

  override async remove(...args: Parameters<MemoryPresence['remove']>) {
    await once(this.answer.signal, 'abort')
    return super.remove(...args)
  }
}

test('a drain is over only when every leave was announced, however late presence answers', async () => {
  const happened: string[] = []
  class HeardBroker extends MemoryBroker {
    override async announce(ref: ChannelRef, announcement: Announcement): Promise<void> {
      if (ref.channel === 'general') happened.push(announcement.kind)
      return super.announce(ref, announcement)
    }
  }
  const presence = new SlowPresence({ clock: systemClock })
  const broker = new HeardBroker(new MemoryBrokerData({ clock: systemClock }))
  const door = await gatewayFor({}, { broker, presence })
  const ann = await chatAs(door, 'ann')
  await joined(ann, 'general')
  await until('her arrival', () => happened.includes('join'))

  const draining = drain(door.gateway.context, { windowMs: 0, sleep }).then(() => happened.push('over'))
  expect(await ann.closed()).toMatchObject({ code: 3001 })
  presence.answer.abort()
  await draining
  expect(happened).toEqual(['join', 'leave', 'over'])
})
