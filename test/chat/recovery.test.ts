// Recovery after a reconnect: since on join_room, and history.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatClient, type ChatEvent } from '../support/chat-client.js'
import { MovableClock } from '../support/clock.js'
import { rule } from '../support/policies.js'

/** A room to which ann has sent the messages 1 to `count`. */
async function spoken(
  count: number,
  size = 1000,
): Promise<{ ann: ChatClient; bob: ChatClient; epoch: unknown }> {
  const gateway = await gatewayFor({ channels: [rule('general', { history: { size, ttlMs: 3_600_000 } })] })
  const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
  let epoch: unknown
  for (let content = 1; content <= count; content += 1)
    ({ epoch } = await ann.done({ type: 'chat', room: 'general', content }))
  return { ann, bob, epoch }
}

/** Events of the reply to a join_room, without the joiner's own user_joined. */
async function join(client: ChatClient, since: object): Promise<ChatEvent[]> {
  client.send({ type: 'join_room', room: 'general', since })
  return (await client.settle()).filter(({ event }) => event !== 'user_joined')
}

const brief = (event: ChatEvent): unknown => (event.event === 'chat' ? event.content : event.recovered)

describe('join_room with since', () => {
  test('returns what was missed in order, then joined with recovered true', async () => {
    const { bob, epoch } = await spoken(5)
    const events = await join(bob, { epoch, offset: 2 })
    expect(events.map(brief)).toEqual([3, 4, 5, true])
    expect(events.at(-1)).toEqual({ event: 'joined', room: 'general', recovered: true, epoch, offset: 5 })
  })

  test('at the newest position has missed nothing', async () => {
    const { bob, epoch } = await spoken(3)
    expect(await join(bob, { epoch, offset: 3 })).toEqual([
      { event: 'joined', room: 'general', recovered: true, epoch, offset: 3 },
    ])
  })

  test('measures the delay of the oldest missed message, and nothing when none was missed', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({}, { clock })
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    const say = async (content: number) => ann.done({ type: 'chat', room: 'general', content })
    const first = await say(1)
    for (const content of [2, 3]) {
      clock.move(4_000, gateway)
      await say(content)
    }
    await join(bob, { epoch: first.epoch, offset: 1 })
    await join(ann, { epoch: first.epoch, offset: 3 })
    const { metrics } = gateway.gateway
    expect(await metrics.registry.getSingleMetricAsString('parley_recovery_delay_seconds')).toMatch(
      /_sum 4\n.*_count 1$/,
    )
    const recoveries = await metrics.recoveries.get()
    expect(recoveries.values).toMatchObject([{ value: 2, labels: { result: 'recovered' } }])
  })

  test('continues live, with each message once', async () => {
    const { ann, bob, epoch } = await spoken(3)
    const events = await join(bob, { epoch, offset: 1 })
    await ann.done({ type: 'chat', room: 'general', content: 4 })
    events.push(...(await bob.settle()))
    expect(events.map(brief)).toEqual([2, 3, true, 4])
  })

  test('before the oldest message in history is not recovered', async () => {
    const { bob, epoch } = await spoken(5, 2)
    expect(await join(bob, { epoch, offset: 1 })).toEqual([
      { event: 'joined', room: 'general', recovered: false, epoch, offset: 5 },
    ])
  })

  test('of another epoch is not recovered, and returns the new epoch', async () => {
    const { bob, epoch } = await spoken(5)
    expect(await join(bob, { epoch: 'another', offset: 2 })).toEqual([
      { event: 'joined', room: 'general', recovered: false, epoch, offset: 5 },
    ])
  })

  test('above the newest position is not recovered', async () => {
    const { bob, epoch } = await spoken(2)
    expect(await join(bob, { epoch, offset: 7 })).toMatchObject([{ recovered: false, offset: 2 }])
  })

  test('with more missed than one reply holds is not recovered', async () => {
    const gateway = await gatewayFor({}, { limits: { pageMax: 3 } })
    const ann = await chatAs(gateway, 'ann')
    let epoch: unknown
    for (let content = 1; content <= 5; content += 1)
      ({ epoch } = await ann.done({ type: 'chat', room: 'general', content }))
    expect((await join(ann, { epoch, offset: 1 })).map(brief)).toEqual([false])
  })

  test('accepts a position from a joined event', async () => {
    const { ann, bob } = await spoken(1)
    const { epoch, offset } = await joined(bob, 'general')
    await bob.done({ type: 'leave_room', room: 'general' })
    await ann.done({ type: 'chat', room: 'general', content: 2 })
    await bob.settle()
    expect((await join(bob, { epoch, offset })).map(brief)).toEqual([2, true])
  })
})

describe('history', () => {
  const contents = (event: ChatEvent): unknown[] =>
    (event.messages as ChatEvent[]).map(({ content }) => content)

  test.each([
    ['all, oldest first', {}, [1, 2, 3, 4, 5]],
    ['the newest of a limit', { limit: 2 }, [4, 5]],
    ['the last before a position', { limit: 2, before: 4 }, [2, 3]],
    ['the first since a position', { limit: 2, since: 1 }, [2, 3]],
    ['nothing for limit 0', { limit: 0 }, []],
  ])(
    '%s',
    async (
      _what,
      { limit, before, since }: { limit?: number; before?: number; since?: number },
      expected,
    ) => {
      const { bob, epoch } = await spoken(5)
      bob.send({
        type: 'history',
        room: 'general',
        limit,
        before: before === undefined ? undefined : { epoch, offset: before },
        since: since === undefined ? undefined : { epoch, offset: since },
      })
      const event = await bob.next('history')
      expect(contents(event)).toEqual(expected)
      expect(event).toMatchObject({ room: 'general', epoch, offset: 5 })
    },
  )

  test('messages equal those delivered live', async () => {
    const { ann, bob } = await spoken(0)
    await joined(bob, 'general')
    await ann.done({ type: 'chat', room: 'general', content: { a: 1 } })
    const live = await bob.next('chat')
    bob.send({ type: 'history', room: 'general' })
    expect((await bob.next('history')).messages).toEqual([live])
  })

  test('since another epoch is UNRECOVERABLE_POSITION', async () => {
    const { bob } = await spoken(1)
    const since = { epoch: 'another', offset: 1 }
    expect(await bob.ask({ type: 'history', room: 'general', since })).toMatchObject({
      code: 'UNRECOVERABLE_POSITION',
    })
  })

  test('works for the lobby and the client’s own direct messages', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await ann.done({ type: 'chat', content: 'all' })
    await ann.done({ type: 'direct_message', target_user: 'ann', content: 'me' })
    await ann.settle()
    ann.send({ type: 'history', room: 'lobby' })
    ann.send({ type: 'history', room: 'dm:ann' })
    expect([contents(await ann.next('history')), contents(await ann.next('history'))]).toEqual([
      ['all'],
      ['me'],
    ])
  })

  test('of another user’s direct messages is PERMISSION_DENIED', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    expect(await ann.ask({ type: 'history', room: 'dm:bob' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('of a room without history is NOT_AVAILABLE', async () => {
    const gateway = await gatewayFor({ channels: [rule('general', { history: null })] })
    const ann = await chatAs(gateway, 'ann')
    expect(await ann.ask({ type: 'history', room: 'general' })).toMatchObject({ code: 'NOT_AVAILABLE' })
  })
})
