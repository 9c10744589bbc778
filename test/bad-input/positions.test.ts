// Positions that never existed, and invalid limits.
import { beforeEach, describe, expect, test } from 'vitest'
import { rule, tenantPolicy } from '../support/policies.js'
import type { Json, RawClient } from '../support/raw-client.js'
import { expectSentence, targetGateway } from '../support/raw-gateway.js'

const target = targetGateway([
  tenantPolicy({
    channels: [rule('lobby'), rule('dm:*'), rule('short', { history: { size: 3, ttlMs: 3_600_000 } })],
  }),
])

describe('positions', () => {
  let client: RawClient
  let epoch: string
  let top: number
  beforeEach(async () => {
    client = await target.chat('alice')
    for (let id = 1; id <= 5; id += 1) client.send({ type: 'room_message', room: 'short', content: id, id })
    const last = await client.json(({ event, id }) => event === 'ack' && id === 5)
    epoch = last['epoch']
    top = last['offset']
  })

  const resume = async (since: unknown): Promise<Json> => {
    client.send({ type: 'join_room', room: 'short', since, id: 'resume' })
    return client.json(({ event }) => event === 'joined' || event === 'error')
  }

  test.each([
    ['of another epoch', () => ({ epoch: 'foreign', offset: 1 })],
    ['of the future', () => ({ epoch, offset: top + 1 })],
    ['of the far future', () => ({ epoch, offset: 2 ** 53 - 1 })],
    ['of 1e300', () => ({ epoch, offset: 1e300 })],
    ['older than the history', () => ({ epoch, offset: 1 })],
    ['of the beginning', () => ({ epoch, offset: 0 })],
    ['of another generation', () => ({ epoch, offset: 2 ** 32 + 1 })],
  ])('%s: joined, and the client is notified of the gap', async (_what, since) => {
    expect(await resume(since())).toMatchObject({ event: 'joined', recovered: false, epoch, offset: top })
  })

  test.each([
    ['a negative offset', () => ({ epoch, offset: -1 })],
    ['a fraction', () => ({ epoch, offset: 0.5 })],
    ['a text for an offset', () => ({ epoch, offset: '1' })],
    ['no offset', () => ({ epoch })],
    ['no epoch', () => ({ offset: 1 })],
    ['an empty epoch', () => ({ epoch: '', offset: 1 })],
    ['an epoch of 1,000 characters', () => ({ epoch: 'e'.repeat(1_000), offset: 1 })],
  ])('%s: BAD_REQUEST', async (_what, since) => {
    const answer = await resume(since())
    expect(answer).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining('"since') })
    expectSentence(answer['message'])
  })

  test('the same at the Centrifuge endpoint: not recovered, or error 112 when the client requests it', async () => {
    for (const offset of [top + 1, 2 ** 53, '18446744073709551615', 1]) {
      for (const flag of [0, 2]) {
        const centrifuge = await target.centrifuge('bob')
        const foreign = `{"id":2,"subscribe":{"channel":"short","recover":true,"epoch":"${epoch}","offset":${offset},"flag":${flag}}}`
        centrifuge.send(foreign)
        const answer = await centrifuge.json(({ id }) => id === 2)
        if (flag === 2) expect(answer).toMatchObject({ error: { code: 112 } })
        else expect(answer).toMatchObject({ subscribe: { was_recovering: true, epoch, offset: top } })
        expect(answer['subscribe']?.recovered).toBeUndefined()
        centrifuge.destroy()
      }
    }
  })

  test.each([
    ['0: only the position', 0, 0],
    ['the most', 300, 3],
  ])('history with a limit of %s', async (_what, limit, count) => {
    client.send({ type: 'history', room: 'short', limit, id: 'h' })
    const answer = await client.json(({ event }) => event === 'history')
    expect(answer).toMatchObject({ epoch, offset: top })
    expect(answer['messages']).toHaveLength(count)
  })

  test.each(['-1', '1e9', '1.5', '"10"', '1e400', '{}'])(
    'history with a limit of %s: BAD_REQUEST',
    async (limit) => {
      client.send(`{"type":"history","room":"short","limit":${limit},"id":"h"}`)
      expect(await client.json(({ id }) => id === 'h')).toMatchObject({
        code: 'BAD_REQUEST',
        message: expect.stringContaining('"limit"'),
      })
    },
  )

  test('history with a limit of NaN is not JSON', async () => {
    client.send('{"type":"history","room":"short","limit":NaN,"id":"h"}')
    expect(await client.json(({ event }) => event === 'error')).toMatchObject({ code: 'INVALID_JSON' })
  })

  test.each([
    [-1, 3],
    [-2_147_483_648, 3],
    [1e9, 3],
    [0, 0],
  ])('history at the Centrifuge endpoint with a limit of %i: %i publications', async (limit, count) => {
    const centrifuge = await target.centrifuge('bob')
    centrifuge.send({ id: 2, history: { channel: 'short', limit } })
    const { history: page } = await centrifuge.json()
    expect(page).toMatchObject({ epoch, offset: top })
    expect(page.publications).toHaveLength(count)
  })

  test('history since an invalid position', async () => {
    client.send({ type: 'history', room: 'short', since: { epoch: 'foreign', offset: 1 }, id: 1 })
    expect(await client.json(({ id, event }) => id === 1 && event !== 'ack')).toMatchObject({
      code: 'UNRECOVERABLE_POSITION',
    })
    client.send({ type: 'history', room: 'short', since: { epoch, offset: 1e15 }, id: 2 })
    expect(await client.json(({ id, event }) => id === 2 && event !== 'ack')).toMatchObject({
      event: 'history',
      messages: [],
    })
  })
})
