// Refused commands: their code and message, and the number of them that closes the session.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { generousLimits, rule } from '../support/policies.js'
import type { Limits } from '../../src/tenant/policy.js'

const limited = <Group extends keyof Limits>(group: Group, changes: Partial<Limits[Group]>) => ({
  limits: { ...generousLimits, [group]: { ...generousLimits[group], ...changes } },
})

describe('error', () => {
  test.each([
    ['a text that is not JSON', 'nonsense', 'INVALID_JSON'],
    ['a value that is not an object', '[1]', 'BAD_REQUEST'],
    ['no type', '{"content":1}', 'BAD_REQUEST'],
    ['an unknown type', '{"type":"shout"}', 'UNKNOWN_TYPE'],
    ['a missing field', '{"type":"room_message","room":"general"}', 'BAD_REQUEST'],
    ['an overlong field', JSON.stringify({ type: 'join_room', room: 'r'.repeat(256) }), 'BAD_REQUEST'],
    [
      'a room with a control character',
      String.raw`{"type":"join_room","room":"a\u0007b"}`,
      'INVALID_CHANNEL',
    ],
    ['a room with a brace', '{"type":"join_room","room":"a{b}"}', 'INVALID_CHANNEL'],
    ['a key with a control character', String.raw`{"type":"chat","content":1,"key":"\n"}`, 'BAD_REQUEST'],
    ['a channel without a rule', '{"type":"chat","room":"secret","content":1}', 'PERMISSION_DENIED'],
  ])('%s: the connection stays open', async (_what, frame, code) => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send(frame)
    expect(await ann.next('error')).toMatchObject({ code, message: expect.stringMatching(/./) as string })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })

  test('has the id of its command', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send('{"type":"shout","id":1.50}')
    await ann.next('error')
    expect(ann.texts.at(-1)).toContain('{"event":"error","id":1.50,"code":"UNKNOWN_TYPE",')
  })

  test('has no id where none was given, and no retry time where waiting does not help', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send({ type: 'shout' })
    expect(Object.keys(await ann.next('error'))).toEqual(['event', 'code', 'message'])
  })

  test('a binary frame is INVALID_JSON', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.socket.send(Buffer.from('{"type":"chat","content":1}'))
    expect(await ann.next('error')).toMatchObject({ code: 'INVALID_JSON' })
  })
})

describe('quota', () => {
  test('a message over the tenant’s limit is MESSAGE_TOO_LARGE, with its size and the limit', async () => {
    const gateway = await gatewayFor(limited('messages', { maxBytes: 100 }))
    const ann = await chatAs(gateway, 'ann')
    expect(await ann.ask({ type: 'chat', content: 'x'.repeat(99) })).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      message: expect.stringContaining('101 of at most 100 bytes') as string,
    })
    expect(await ann.ask({ type: 'chat', content: 'x'.repeat(98) })).toMatchObject({ event: 'ack' })
  })

  test('too many publications per second is QUOTA_EXCEEDED, with a retry time', async () => {
    const gateway = await gatewayFor(limited('messages', { publishPerSecond: 1, publishBurst: 1 }))
    const ann = await chatAs(gateway, 'ann')
    await ann.done({ type: 'chat', content: 1 })
    const error = await ann.ask({ type: 'chat', content: 2 })
    expect(error).toMatchObject({ event: 'error', code: 'QUOTA_EXCEEDED' })
    expect(error.retry_after_ms).toBeGreaterThan(0)
    expect(error.retry_after_ms).toBeLessThanOrEqual(1000)
  })

  test('too many commands per second is TOO_MANY_REQUESTS, with a retry time', async () => {
    const gateway = await gatewayFor(limited('connections', { commandsPerSecond: 5 }))
    const ann = await chatAs(gateway, 'ann')
    for (let n = 0; n < 8; n += 1) ann.send({ type: 'chat', content: n })
    expect(await ann.next('error')).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      retry_after_ms: expect.any(Number) as number,
    })
  })

  test('too many rooms is SUBSCRIPTION_LIMIT', async () => {
    // The lobby and the direct messages are two subscriptions.
    const gateway = await gatewayFor({
      ...limited('channels', { maxSubscriptionsPerConnection: 3 }),
      channels: [rule('lobby'), rule('dm:{user}'), rule('room:')],
    })
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'room:1')
    expect(await ann.ask({ type: 'join_room', room: 'room:2' })).toMatchObject({
      code: 'SUBSCRIPTION_LIMIT',
      message: expect.stringContaining('3 of 3') as string,
    })
  })

  test('too many channels is CHANNEL_LIMIT, with a retry time', async () => {
    const gateway = await gatewayFor({ ...limited('channels', { max: 1 }), channels: [rule('room:')] })
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'room:1')
    expect(await ann.ask({ type: 'join_room', room: 'room:2' })).toMatchObject({
      code: 'CHANNEL_LIMIT',
      retry_after_ms: 5_000,
    })
  })
})

describe('too many errors in a row', () => {
  test('close with 3509', async () => {
    const gateway = await gatewayFor({}, { limits: { errorsInRowMax: 3 } })
    const ann = await chatAs(gateway, 'ann')
    for (let n = 0; n < 3; n += 1) ann.send('nonsense')
    expect(await ann.closed()).toEqual({ code: 3509, reason: 'too many errors' })
    expect(ann.texts.filter((text) => text.includes('INVALID_JSON'))).toHaveLength(3)
  })

  test('start again after a successful command', async () => {
    const gateway = await gatewayFor({}, { limits: { errorsInRowMax: 3 } })
    const ann = await chatAs(gateway, 'ann')
    for (let n = 0; n < 5; n += 1) {
      ann.send('nonsense')
      ann.send('nonsense')
      await ann.settle()
    }
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })

  test('because of the rate close with 3013', async () => {
    const gateway = await gatewayFor(limited('connections', { commandsPerSecond: 5 }), {
      limits: { errorsInRowMax: 3 },
    })
    const ann = await chatAs(gateway, 'ann')
    for (let n = 0; n < 10; n += 1) ann.send({ type: 'chat', content: n })
    expect((await ann.closed()).code).toBe(3013)
  })
})
