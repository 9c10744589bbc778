// Each refusal of a single command, by code and message. The connection stays open.
import { afterEach, describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { rawAs, type RawCentrifugeClient } from '../support/frames.js'
import { allow, generousLimits, rule } from '../support/policies.js'

const channels = [
  rule('general'),
  rule('short', { history: { size: 2, ttlMs: 3_600_000 } }),
  rule('fleeting', { history: null, presence: false }),
  rule('mute', { grants: [allow(['Subscribe'])] }),
]

let client: RawCentrifugeClient

async function ann(): Promise<RawCentrifugeClient> {
  client = await rawAs(await gatewayFor({ channels }), 'ann')
  return client
}

// After any refusal, the next command is answered.
afterEach(async () => {
  if (client.socket.readyState === client.socket.OPEN)
    expect(await client.ask(999, { rpc: { method: 'still there' } })).toMatchObject({ error: { code: 108 } })
})

const refusals: [what: string, command: object, code: number, message: string | RegExp][] = [
  [
    'an unknown channel',
    { subscribe: { channel: 'nowhere' } },
    103,
    'PERMISSION_DENIED: No channel rule of this tenant covers "nowhere".',
  ],
  [
    'a publish without permission',
    { publish: { channel: 'mute', data: 1 } },
    103,
    'PERMISSION_DENIED: Rule "mute" covers "mute", but grants Publish to no one.',
  ],
  ['a name with a space', { subscribe: { channel: 'two words' } }, 107, /^INVALID_CHANNEL: /],
  ['a private name', { subscribe: { channel: '$secret' } }, 107, /^INVALID_CHANNEL: /],
  ['a name of 256 bytes', { publish: { channel: 'x'.repeat(256), data: 1 } }, 107, /^INVALID_CHANNEL: /],
  ['a publish without data', { publish: { channel: 'general' } }, 107, 'BAD_REQUEST: data is missing'],
  [
    'an invalid tags filter',
    { subscribe: { channel: 'general', tf: { key: 'a', cmp: 'like' } } },
    107,
    /^BAD_REQUEST: This tags filter \(tf\) cannot be used: "cmp" must be one of eq, /,
  ],
  [
    'a map subscription',
    { subscribe: { channel: 'general', type: 1 } },
    108,
    'NOT_AVAILABLE: Only stream subscriptions (type 0) are supported',
  ],
  ['rpc', { rpc: { method: 'sum' } }, 108, 'NOT_AVAILABLE: No procedure "sum": this server has none'],
  [
    'history where none is kept',
    { history: { channel: 'fleeting' } },
    108,
    'NOT_AVAILABLE: "fleeting" keeps no history',
  ],
  [
    'presence where none is kept',
    { presence: { channel: 'fleeting' } },
    108,
    'NOT_AVAILABLE: "fleeting" keeps no presence',
  ],
  [
    'presence stats where none are kept',
    { presence_stats: { channel: 'fleeting' } },
    108,
    'NOT_AVAILABLE: "fleeting" keeps no presence',
  ],
  [
    'history of another epoch',
    { history: { channel: 'general', limit: 1, since: { epoch: 'other', offset: 1 } } },
    112,
    /^UNRECOVERABLE_POSITION: The position belongs to an earlier stream of "general" \(epoch other, now [\w.-]+\)/,
  ],
  [
    'history backwards from the start',
    { history: { channel: 'general', reverse: true, since: { epoch: '' } } },
    107,
    /^BAD_REQUEST: Nothing precedes offset 0/,
  ],
  [
    'a refresh without a subscription',
    { sub_refresh: { channel: 'general', token: 'x' } },
    103,
    'NOT_SUBSCRIBED: This connection is not subscribed to "general"',
  ],
  [
    'an impossible recovery, requested as an error',
    { subscribe: { channel: 'general', recover: true, epoch: 'other', offset: 3, flag: 3 } },
    112,
    'UNRECOVERABLE_POSITION: Cannot recover "general": the position belongs to another stream',
  ],
]

test.each(refusals)('%s', async (_what, command, code, message) => {
  const { id, error } = (await (await ann()).ask(2, command)) as {
    id: number
    error: { code: number; message: string }
  }
  expect([id, error.code]).toEqual([2, code])
  if (typeof message === 'string') expect(error.message).toBe(message)
  else expect(error.message).toMatch(message)
})

test('subscribing twice: 105', async () => {
  await ann()
  client.send({ id: 2, subscribe: { channel: 'general' } }, { id: 3, subscribe: { channel: 'general' } })
  expect(await client.reply(2)).toHaveProperty('subscribe')
  expect(await client.reply(3)).toMatchObject({ error: { code: 105 } })
})

test('an unsubscribe without a subscription is answered {}', async () => {
  expect(await (await ann()).ask(2, { unsubscribe: { channel: 'general' } })).toEqual({
    id: 2,
    unsubscribe: {},
  })
})

test('a subscription refused with 112 leaves no presence entry', async () => {
  await ann()
  await client.ask(2, {
    subscribe: { channel: 'general', recover: true, epoch: 'other', offset: 3, flag: 2 },
  })
  expect(await client.ask(3, { presence_stats: { channel: 'general' } })).toEqual({
    id: 3,
    presence_stats: { num_clients: 0, num_users: 0 },
  })
  expect(await client.ask(4, { subscribe: { channel: 'general' } })).toHaveProperty('subscribe')
})

test('send, which has no reply, closes: 3508', async () => {
  ;(await ann()).send({ send: { data: 1 } })
  expect(await client.closed()).toEqual({ code: 3508, reason: 'not available' })
})

test('a sub_refresh without a token: 107', async () => {
  await ann()
  await client.ask(2, { subscribe: { channel: 'general' } })
  expect(await client.ask(3, { sub_refresh: { channel: 'general' } })).toMatchObject({ error: { code: 107 } })
})

test('a message above the tenant’s limit: 107, and the next one is accepted', async () => {
  const limits = { ...generousLimits, messages: { ...generousLimits.messages, maxBytes: 10 } }
  client = await rawAs(await gatewayFor({ limits }), 'ann')
  expect(await client.ask(2, { publish: { channel: 'general', data: '123456789' } })).toEqual({
    id: 2,
    error: {
      code: 107,
      message: 'MESSAGE_TOO_LARGE: Cannot publish to "general": the message has 11 of at most 10 bytes',
    },
  })
  expect(await client.ask(3, { publish: { channel: 'general', data: '12345678' } })).toEqual({
    id: 3,
    publish: {},
  })
})

describe('presence of many clients', () => {
  test('one reply holds at most membersMax members; stats count all', async () => {
    const gateway = await gatewayFor({}, { limits: { membersMax: 2 } })
    const clients = await Promise.all(['ann', 'bob', 'carol'].map((user) => rawAs(gateway, user)))
    await Promise.all(clients.map((each) => each.ask(2, { subscribe: { channel: 'general' } })))
    client = clients[0] as RawCentrifugeClient
    const { presence } = (await client.ask(3, { presence: { channel: 'general' } })) as {
      presence: { presence: object }
    }
    expect(Object.keys(presence.presence)).toHaveLength(2)
    expect(await client.ask(4, { presence_stats: { channel: 'general' } })).toMatchObject({
      presence_stats: { num_clients: 3, num_users: 3 },
    })
  })
})
