// The official client works with Parley as its documentation says.
import { describe, expect, test } from 'vitest'
import {
  collect,
  connected,
  connectedAs,
  dataOf,
  centrifugeUrl,
  gatewayFor,
  next,
  sdkAt,
  sdkOf,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { tenantPolicy } from '../support/policies.js'

describe('connect', () => {
  test('by token', async () => {
    const gateway = await gatewayFor()
    const client = sdkOf(gateway, 'ann')
    const received = next(client, 'connected')
    client.connect()
    expect(await received).toMatchObject({
      transport: 'websocket',
      client: expect.stringMatching(/^[\w-]{36}$/),
    })
  })
})

describe('a channel with two clients', () => {
  test('both receive what one publishes', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = await Promise.all([connectedAs(gateway, 'ann'), connectedAs(gateway, 'bob')])
    const atAnn = dataOf(await subscribed(ann, 'general'))
    const general = await subscribed(bob, 'general')
    const atBob = dataOf(general)
    await general.publish({ text: 'hello', n: 1.5, unicode: 'ж😀\u2028' })
    const expected = { text: 'hello', n: 1.5, unicode: 'ж😀\u2028' }
    expect([await atAnn.next(), await atBob.next()]).toEqual([expected, expected])
  })

  test('a publication names its publisher', async () => {
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann', {
      getToken: () => gateway.token('ann', { claims: { info: { color: 'red' } } }),
    })
    const general = await subscribed(ann, 'general')
    const received = next(general, 'publication')
    await ann.publish('general', 'x')
    expect(await received).toMatchObject({
      data: 'x',
      channel: 'general',
      offset: 1,
      info: { user: 'ann', connInfo: { color: 'red' } },
    })
  })

  test('a publish does not need a subscription', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = await Promise.all([connectedAs(gateway, 'ann'), connectedAs(gateway, 'bob')])
    const atAnn = dataOf(await subscribed(ann, 'general'))
    await bob.publish('general', 'from outside')
    expect(await atAnn.next()).toBe('from outside')
  })

  test('a client that has unsubscribed receives no more publications', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = await Promise.all([connectedAs(gateway, 'ann'), connectedAs(gateway, 'bob')])
    const atBob = dataOf(await subscribed(bob, 'general'))
    const general = await subscribed(ann, 'general')
    const atAnn = dataOf(general)
    general.unsubscribe()
    // Answered after the unsubscribe, on the same connection.
    await ann.history('general', { limit: 0 })
    await bob.publish('general', 'late')
    expect(await atBob.next()).toBe('late')
    await ann.history('general', { limit: 0 })
    expect(atAnn.waiting).toEqual([])
  })
})

describe('history', () => {
  async function fiveInGeneral() {
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann')
    for (let n = 1; n <= 5; n += 1) await ann.publish('general', n)
    const { epoch } = await ann.history('general')
    return { ann, epoch }
  }
  const numbers = ({ publications }: { publications: { data: unknown }[] }) =>
    publications.map(({ data }) => data)

  test('without a limit returns only the position', async () => {
    const { ann } = await fiveInGeneral()
    expect(await ann.history('general')).toEqual({
      publications: [],
      offset: 5,
      epoch: expect.stringMatching(/./) as string,
    })
  })

  test('with a limit returns the oldest', async () => {
    const { ann } = await fiveInGeneral()
    expect(numbers(await ann.history('general', { limit: 2 }))).toEqual([1, 2])
  })

  test('with limit -1 returns all', async () => {
    const { ann } = await fiveInGeneral()
    expect(numbers(await ann.history('general', { limit: -1 }))).toEqual([1, 2, 3, 4, 5])
  })

  test('excludes the publication at since', async () => {
    const { ann, epoch } = await fiveInGeneral()
    expect(numbers(await ann.history('general', { limit: 10, since: { offset: 3, epoch } }))).toEqual([4, 5])
  })

  test('with reverse returns the newest first', async () => {
    const { ann, epoch } = await fiveInGeneral()
    expect(numbers(await ann.history('general', { limit: 2, reverse: true }))).toEqual([5, 4])
    expect(
      numbers(await ann.history('general', { limit: 10, reverse: true, since: { offset: 3, epoch } })),
    ).toEqual([2, 1])
  })
})

describe('presence', () => {
  test('lists connections, with user and info', async () => {
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann')
    const bob = await connectedAs(gateway, 'bob', {
      getToken: () => gateway.token('bob', { claims: { info: { age: 7 } } }),
    })
    const general = await subscribed(ann, 'general')
    await subscribed(bob, 'general')
    const { clients } = await general.presence()
    const members = Object.values(clients).toSorted((a, b) => a.user.localeCompare(b.user))
    expect(members).toMatchObject([{ user: 'ann' }, { user: 'bob', connInfo: { age: 7 } }])
  })

  test('stats distinguish two connections of one user from two users', async () => {
    const gateway = await gatewayFor()
    const users = ['ann', 'ann', 'bob']
    const clients = await Promise.all(users.map((user) => connectedAs(gateway, user)))
    await Promise.all(clients.map((client) => subscribed(client, 'general')))
    expect(await clients[0]?.presenceStats('general')).toEqual({ numClients: 3, numUsers: 2 })
  })

  test('join and leave reach the clients that asked for them, the joining one included', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = await Promise.all([connectedAs(gateway, 'ann'), connectedAs(gateway, 'bob')])
    const general = ann.newSubscription('general', { joinLeave: true })
    const joins = collect(general, 'join')
    const leaves = collect(general, 'leave')
    general.subscribe()
    const own = await joins.next()
    const theirs = await subscribed(bob, 'general')
    const joined = await joins.next()
    theirs.unsubscribe()
    const left = await leaves.next()
    expect([own.info.user, joined.info.user, left.info.user]).toEqual(['ann', 'bob', 'bob'])
  })

  test('a cut connection leaves', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = await Promise.all([connectedAs(gateway, 'ann'), connectedAs(gateway, 'bob')])
    const leaves = collect(await subscribed(ann, 'general', { joinLeave: true }), 'leave')
    await subscribed(bob, 'general')
    bob.disconnect()
    expect((await leaves.next()).info.user).toBe('bob')
    expect(await ann.presenceStats('general')).toEqual({ numClients: 1, numUsers: 1 })
  })
})

test('a subscription made before connecting is sent in the first frame and works', async () => {
  const gateway = await gatewayFor()
  const ann = sdkOf(gateway, 'ann')
  const general = ann.newSubscription('general')
  const atAnn = dataOf(general)
  general.subscribe()
  await connected(ann)
  await general.publish('first')
  expect(await atAnn.next()).toBe('first')
})

test('rpc is not supported: 108', async () => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann')
  await expect(ann.rpc('anything', {})).rejects.toMatchObject({
    code: 108,
    message: 'NOT_AVAILABLE: No procedure "anything": this server has none',
  })
})

test('a channel name of two tenants means two channels', async () => {
  const gateway = await gatewayFor([tenantPolicy(), tenantPolicy({ name: 'globex' })])
  const ann = await connectedAs(gateway, 'ann')
  const hank = await connected(
    sdkAt(centrifugeUrl(gateway, 'demo/globex'), {
      getToken: () => gateway.token('hank', { tenant: 'demo/globex' }),
    }),
  )
  const atAnn = dataOf(await subscribed(ann, 'general', { joinLeave: true }))
  const atHank = dataOf(await subscribed(hank, 'general', { joinLeave: true }))
  await ann.publish('general', 'of acme')
  await hank.publish('general', 'of globex')
  expect([await atAnn.next(), await atHank.next()]).toEqual(['of acme', 'of globex'])
  expect([atAnn.waiting, atHank.waiting]).toEqual([[], []])
  expect(await ann.presenceStats('general')).toEqual({ numClients: 1, numUsers: 1 })
  expect(await hank.history('general', { limit: 10 })).toMatchObject({
    publications: [{ data: 'of globex' }],
  })
})
