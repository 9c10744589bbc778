// Presence is best effort: while it is unavailable, clients can subscribe, publish and leave.
import { afterEach, expect, test, vi } from 'vitest'
import { presenceTtlMs } from '../../src/presence/presence.js'
import { UnavailablePresence } from '../support/absent-presence.js'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs } from '../support/chat-client.js'
import { rawAs } from '../support/frames.js'
import { bugsOf } from '../support/gateway.js'

const subscribeGeneral = { subscribe: { channel: 'general', join_leave: true } }
const membersOf = { presence_stats: { channel: 'general' } }

afterEach(() => {
  vi.useRealTimers()
})

/** Bob is on `general` and receives joins and leaves. Then presence becomes unavailable. */
async function bobAlone() {
  const presence = new UnavailablePresence()
  const gateway = await gatewayFor({}, { presence })
  const [ann, bob] = await Promise.all([rawAs(gateway, 'ann'), rawAs(gateway, 'bob')])
  await bob.ask(2, subscribeGeneral)
  expect(await bob.object()).toMatchObject({ push: { join: { info: { user: 'bob' } } } })
  presence.unavailable = true
  return { presence, gateway, ann, bob }
}

test('a subscription succeeds, and its join is announced', async () => {
  const { ann, bob, gateway } = await bobAlone()
  expect(await ann.ask(2, subscribeGeneral)).toHaveProperty('subscribe')
  expect(await bob.object()).toMatchObject({ push: { join: { info: { user: 'ann' } } } })
  await bob.ask(3, { publish: { channel: 'general', data: 1 } })
  await vi.waitFor(() => expect(ann.frames.some((frame) => frame.includes('"pub"'))).toBe(true))
  expect(await bugsOf(gateway)).toBe(0)
})

test('the next refresh adds the entries of clients that joined meanwhile', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const { ann, bob, presence } = await bobAlone()
  await ann.ask(2, subscribeGeneral)
  presence.unavailable = false
  expect(await bob.ask(3, membersOf)).toMatchObject({ presence_stats: { num_clients: 1 } })
  await vi.advanceTimersByTimeAsync(presenceTtlMs / 3)
  expect(await bob.ask(4, membersOf)).toMatchObject({ presence_stats: { num_clients: 2 } })
})

test('a leave is announced as well', async () => {
  const { ann, bob } = await bobAlone()
  await ann.ask(2, subscribeGeneral)
  await bob.object()
  await ann.ask(3, { unsubscribe: { channel: 'general' } })
  expect(await bob.object()).toMatchObject({ push: { leave: { info: { user: 'ann' } } } })
})

test('a presence command is refused temporarily', async () => {
  const { bob } = await bobAlone()
  expect(await bob.ask(3, membersOf)).toMatchObject({ error: { temporary: true } })
  expect(await bob.ask(4, { presence: { channel: 'general' } })).toMatchObject({ error: { temporary: true } })
})

test('a bug in presence does not fail a subscription, and is counted', async () => {
  const { ann, gateway, presence } = await bobAlone()
  presence.error = new TypeError('a bug')
  expect(await ann.ask(2, subscribeGeneral)).toHaveProperty('subscribe')
  expect(await bugsOf(gateway)).toBe(1)
})

test('the lobby announces nothing, since it may be above its limit', async () => {
  const presence = new UnavailablePresence()
  const gateway = await gatewayFor({}, { presence })
  const bob = await chatAs(gateway, 'bob')
  await chatAs(gateway, 'ann')
  presence.unavailable = true
  await chatAs(gateway, 'cleo')
  const received = (await bob.settle()).filter(({ event }) => event === 'user_connected')
  expect(received).toMatchObject([{ user_id: 'ann' }])
})
