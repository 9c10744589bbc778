// Valid commands at the wrong time.
import { describe, expect, test } from 'vitest'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { rule, tenantPolicy } from '../support/policies.js'
import { targetGateway } from '../support/raw-gateway.js'
import { centrifugePath } from '../support/raw-http.js'

const channels = [rule('lobby'), rule('dm:*'), rule('general')]
const [issuer] = tenantPolicy().issuers
const otherIssuer = {
  ...issuer,
  key: { type: 'SharedKey', secret: Buffer.alloc(64, 'o').toString('base64'), sample: true },
} as TenantPolicy['issuers'][number]
const target = targetGateway([
  tenantPolicy({ channels }),
  tenantPolicy({ name: 'other', channels, issuers: [otherIssuer] }),
])

const token = (user: string, tenant?: string) => target.running.token(user, tenant ? { tenant } : {})

describe('before connect, at the Centrifuge endpoint', () => {
  test.each([
    'subscribe',
    'unsubscribe',
    'publish',
    'presence',
    'presence_stats',
    'history',
    'rpc',
    'refresh',
    'sub_refresh',
    'send',
  ])('%s: 3501', async (method) => {
    const client = await target.upgrade({ target: centrifugePath })
    client.send({ id: 1, [method]: { channel: 'general', data: 1, token: 'x' } })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })

  test('a publish before connect in one frame: 3501, and nothing is published', async () => {
    const watcher = await target.centrifuge('bob')
    watcher.send({ id: 2, subscribe: { channel: 'general' } })
    await watcher.json(({ id }) => id === 2)
    const client = await target.upgrade({ target: centrifugePath })
    client.send(
      `{"id":1,"publish":{"channel":"general","data":"early"}}\n{"id":2,"connect":{"token":"${await token('alice')}"}}`,
    )
    expect(await client.closed()).toMatchObject({ code: 3501 })
    watcher.send({ id: 3, publish: { channel: 'general', data: 'next' } })
    expect(await watcher.json(({ push }) => push?.pub)).toMatchObject({ push: { pub: { data: 'next' } } })
  })

  test('commands after a failed connect are ignored', async () => {
    const client = await target.upgrade({ target: centrifugePath })
    const expired = await target.running.token('alice', { expiresInS: -60 })
    client.send(
      `{"id":1,"connect":{"token":"${expired}"}}\n{"id":2,"publish":{"channel":"general","data":1}}`,
    )
    expect(await client.json()).toMatchObject({ id: 1, error: { code: 109 } })
    client.send('not JSON')
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })
})

describe('a repeated connect', () => {
  test('twice: 3501', async () => {
    const client = await target.centrifuge('alice')
    client.send({ id: 2, connect: { token: await token('alice') } })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })

  test('twice in one frame: the first is answered, then 3501', async () => {
    const client = await target.upgrade({ target: centrifugePath })
    const bearer = await token('alice')
    client.send(`{"id":1,"connect":{"token":"${bearer}"}}\n{"id":2,"connect":{"token":"${bearer}"}}`)
    expect(await client.json()).toMatchObject({ id: 1, connect: {} })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })

  test('as another user, by a refresh: 3500', async () => {
    const client = await target.centrifuge('alice')
    client.send({ id: 2, refresh: { token: await token('bob') } })
    expect(await client.closed()).toMatchObject({
      code: 3500,
      reason: expect.stringContaining('another user'),
    })
  })

  test('as the same user of another tenant, by a refresh: 3500', async () => {
    const client = await target.centrifuge('alice')
    client.send({ id: 2, refresh: { token: await token('alice', 'demo/other') } })
    expect(await client.closed()).toMatchObject({ code: 3500, reason: expect.stringContaining('not signed') })
  })
})

describe('subscribe and leave', () => {
  test('twice, at both endpoints', async () => {
    const chat = await target.chat('alice')
    for (const id of [1, 2]) chat.send({ type: 'join_room', room: 'general', id })
    expect(await chat.json(({ event }) => event === 'error')).toMatchObject({
      id: 2,
      code: 'ALREADY_SUBSCRIBED',
    })
    chat.send({ type: 'join_room', room: 'lobby', id: 3 })
    expect(await chat.json(({ event }) => event === 'error')).toMatchObject({
      id: 3,
      code: 'ALREADY_SUBSCRIBED',
    })
    const centrifuge = await target.centrifuge('alice')
    centrifuge.send('{"id":2,"subscribe":{"channel":"general"}}\n{"id":3,"subscribe":{"channel":"general"}}')
    expect(await centrifuge.json(({ id }) => id === 2)).toMatchObject({ subscribe: {} })
    expect(await centrifuge.json(({ id }) => id === 3)).toMatchObject({ error: { code: 105 } })
  })

  test('leaving a room that was never joined succeeds', async () => {
    const chat = await target.chat('alice')
    chat.send({ type: 'leave_room', room: 'nowhere', id: 1 })
    expect(await chat.json(({ id }) => id === 1)).toMatchObject({ event: 'left', room: 'nowhere' })
    const centrifuge = await target.centrifuge('alice')
    centrifuge.send({ id: 2, unsubscribe: { channel: 'nowhere' } })
    expect(await centrifuge.json()).toEqual({ id: 2, unsubscribe: {} })
  })

  test('in rapid alternation: each is answered in order, and the last one applies', async () => {
    const client = await target.centrifuge('alice')
    const lines = Array.from({ length: 100 }, (_, index) =>
      JSON.stringify({
        id: index + 2,
        [index % 2 === 0 ? 'subscribe' : 'unsubscribe']: { channel: 'general' },
      }),
    )
    client.send(lines.join('\n'))
    for (let id = 2; id < 102; id += 1) {
      const answer = await client.json((message) => message['id'] !== undefined)
      expect(answer).toMatchObject({ id })
      expect(answer).not.toHaveProperty('error')
    }
    client.send({ id: 200, subscribe: { channel: 'general' } })
    expect(await client.json(({ id }) => id === 200)).toMatchObject({ subscribe: {} })
  })
})
