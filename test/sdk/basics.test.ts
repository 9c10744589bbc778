// Basic functions of every official client, with every broker. The second client in these tests is the
// official one for JavaScript.
import { describe, expect, test } from 'vitest'
import { apiKey, apiResult } from '../support/api-client.js'
import { connectedAs, dataOf, centrifugeUrl, subscribed } from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { allow, allOperations, rule } from '../support/policies.js'
import { everywhere, type BrokerKind } from './brokers.js'
import type { SdkClient } from './clients.js'
import { Driver } from './driver.js'

/** `ann` is the client under test. */
async function annAndBob(client: SdkClient & BrokerKind, channels = [rule('general')]) {
  const { here, there } = await client.start({ channels })
  const [ann, bob] = await Promise.all([annAt(client, here), connectedAs(there, 'bob')])
  return { ann, bob }
}

async function annAt(client: SdkClient, gateway: TestGateway, claims = {}): Promise<Driver> {
  return Driver.start(client).connected(centrifugeUrl(gateway), {
    token: await gateway.token('ann', { claims }),
  })
}

const byUser = (a: { user: string }, b: { user: string }): number => a.user.localeCompare(b.user)

describe.each(everywhere)('$name on $broker', (client) => {
  test('connects with a token', async () => {
    const { here } = await client.start()
    const ann = Driver.start(client)
    await ann.connect(centrifugeUrl(here), { token: await here.token('ann') })
    expect((await ann.next('connected')).client).toMatch(/^[\w-]{36}$/)
  })

  test('connects as a guest when rules admit guests', async () => {
    const allSubjects = [{ authenticated: true as const }, { anonymous: true as const }]
    const { here } = await client.start({
      channels: [rule('lobby', { grants: [allow(allOperations, allSubjects)] })],
    })
    const guest = Driver.start(client)
    await guest.connect(centrifugeUrl(here))
    const { client: id, data } = await guest.next('connected')
    const { guest_token: token, user_id: user } = data as { guest_token: string; user_id: string }
    await guest.subscribed('lobby')
    expect((await guest.presence('lobby')).clients).toEqual([{ client: id, user }])
    const returning = Driver.start(client)
    await returning.connect(centrifugeUrl(here), { token })
    expect((await returning.next('connected')).data).toMatchObject({ user_id: user })
  })

  test('publishes, and receives publications', async () => {
    const { ann, bob } = await annAndBob(client)
    const atBob = dataOf(await subscribed(bob, 'general'))
    await ann.subscribed('general')
    const data = { text: 'hello', n: 1.5, unicode: 'ж😀\u2028', nothing: null }
    await ann.publish('general', data)
    expect(await ann.next('publication')).toMatchObject({ channel: 'general', data, offset: 1 })
    expect(await atBob.next()).toEqual(data)
    await bob.publish('general', ['from', 'bob'])
    expect(await ann.next('publication')).toMatchObject({ data: ['from', 'bob'], offset: 2 })
  })

  test('receives nothing after unsubscribing, and receives again after a new subscription', async () => {
    const { ann, bob } = await annAndBob(client)
    await ann.subscribed('general')
    await ann.unsubscribe('general')
    expect((await ann.next('unsubscribed')).channel).toBe('general')
    // SDKs report it before the server has processed it. The server replies in order, so this reply comes
    // after it.
    await ann.history('general')
    await bob.publish('general', 'late')
    // This reply comes after any publication that is still in transit.
    await ann.history('general')
    expect(ann.waiting('publication')).toEqual([])
    await ann.subscribed('general')
    await bob.publish('general', 'again')
    expect(await ann.data(1)).toEqual(['again'])
  })

  test('reads history: the position, the oldest, those after a position, the newest first', async () => {
    const { ann } = await annAndBob(client)
    for (let n = 1; n <= 5; n += 1) await ann.publish('general', { n })
    const position = await ann.history('general')
    expect(position).toEqual({ publications: [], offset: 5, epoch: expect.stringMatching(/./) as string })
    const { epoch } = position
    const numbers = async (options: Parameters<Driver['history']>[1]) =>
      (await ann.history('general', options)).publications.map(({ data }) => (data as { n: number }).n)
    expect(await numbers({ limit: 2 })).toEqual([1, 2])
    expect(await numbers({ limit: 10, since: { offset: 3, epoch } })).toEqual([4, 5])
    expect(await numbers({ limit: 2, reverse: true })).toEqual([5, 4])
    expect((await ann.history('general', { limit: 1 })).publications).toEqual([{ data: { n: 1 }, offset: 1 }])
  })

  test('reads presence and its counts', async () => {
    const { ann, bob } = await annAndBob(client)
    await subscribed(bob, 'general')
    await ann.subscribed('general')
    const { clients } = await ann.presence('general')
    expect(clients.toSorted(byUser)).toMatchObject([{ user: 'ann' }, { user: 'bob' }])
    expect(new Set(clients.map(({ client: id }) => id)).size).toBe(2)
    expect(await ann.presenceStats('general')).toEqual({ clients: 2, users: 2 })
  })

  test('receives joins and leaves', async () => {
    const { ann, bob } = await annAndBob(client)
    await ann.subscribed('general', { joinLeave: true })
    const fromBob = ({ user }: { user: string }): boolean => user === 'bob'
    const subscription = await subscribed(bob, 'general')
    const joined = await ann.next('join', fromBob)
    subscription.unsubscribe()
    expect(await ann.next('leave', fromBob)).toMatchObject({ channel: 'general', client: joined.client })
  })

  test('is subscribed to the channels that its token names', async () => {
    const { here, there } = await client.start()
    const bob = await connectedAs(there, 'bob')
    const ann = await annAt(client, here, { channels: ['general'] })
    expect(await ann.next('serverSubscribed')).toMatchObject({ channel: 'general' })
    await bob.publish('general', { hello: 1 })
    expect(await ann.next('serverPublication')).toMatchObject({
      channel: 'general',
      data: { hello: 1 },
      offset: 1,
    })
  })

  test('is subscribed and unsubscribed by its backend', async () => {
    const { here, there } = await client.start({ apiKeys: [apiKey()] })
    const ann = await annAt(client, here)
    await apiResult(there, 'subscribe', { user: 'ann', channel: 'general' })
    expect(await ann.next('serverSubscribed')).toMatchObject({ channel: 'general' })
    await apiResult(there, 'publish', { channel: 'general', data: 'x' })
    expect(await ann.next('serverPublication')).toMatchObject({ channel: 'general', data: 'x' })
    await apiResult(there, 'unsubscribe', { user: 'ann', channel: 'general' })
    expect(await ann.next('serverUnsubscribed')).toMatchObject({ channel: 'general' })
  })

  test('receives the tags of publications', async () => {
    const { here, there } = await client.start({ apiKeys: [apiKey()] })
    const ann = await annAt(client, here)
    await ann.subscribed('general')
    const tags = { kind: 'goal', minute: '63' }
    await apiResult(there, 'publish', { channel: 'general', data: 'x', tags })
    await apiResult(there, 'publish', { channel: 'general', data: 'y' })
    expect(await ann.next('publication')).toMatchObject({ data: 'x', tags })
    expect((await ann.next('publication')).tags).toEqual({})
  })

  test('receives the reason of refused commands, and stays connected', async () => {
    const { ann } = await annAndBob(client, [
      rule('general'),
      rule('staff', { grants: [allow(allOperations, [{ roles: ['staff'] }])] }),
    ])
    await ann.subscribe('staff')
    expect(await ann.next('unsubscribed')).toMatchObject({
      channel: 'staff',
      code: 103,
      reason: 'PERMISSION_DENIED: Rule "staff" grants Subscribe on "staff" only to users with role "staff".',
    })
    const refused = {
      fields: { code: 103, message: expect.stringMatching(/^PERMISSION_DENIED: /) as string },
    }
    await expect(ann.publish('staff', 1)).rejects.toMatchObject(refused)
    await expect(ann.history('staff')).rejects.toMatchObject(refused)
    await expect(ann.presence('staff')).rejects.toMatchObject(refused)
    await ann.subscribed('general')
  })
})

describe.each(everywhere.filter(({ lacks }) => !lacks.includes('tagsFilter')))(
  '$name on $broker',
  (client) => {
    test('receives only publications that match its tags filter', async () => {
      const { here, there } = await client.start({ apiKeys: [apiKey()] })
      const ann = await annAt(client, here)
      const goals = { key: 'kind', cmp: 'eq', val: 'goal' }
      const late = { key: 'minute', cmp: 'gte', val: '60' }
      await ann.subscribed('general', { tagsFilter: { op: 'and', nodes: [goals, late] } })
      const events = [
        { kind: 'goal', minute: '63' },
        { kind: 'corner', minute: '70' },
        { kind: 'goal', minute: '7' },
        { kind: 'goal', minute: '90' },
      ]
      for (const tags of events)
        await apiResult(there, 'publish', { channel: 'general', data: tags.minute, tags })
      expect(await ann.data(2)).toEqual(['63', '90'])
    })
  },
)

describe.each(everywhere.filter(({ lacks }) => !lacks.includes('delta')))('$name on $broker', (client) => {
  test('applies deltas to earlier publications', async () => {
    const { ann, bob } = await annAndBob(client)
    await ann.subscribed('general', { delta: 'fossil' })
    const documents = ['мир', 'мор', 'é', '😀'].map((title) => ({ title, rest: 'ж'.repeat(200) }))
    for (const document of documents) await bob.publish('general', document)
    expect(await ann.data(documents.length)).toEqual(documents)
  })
})
