// Guests: clients without the token of a user, where the tenant allows them.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { ChatClient, chatAs, chatUrl, leave, refusedUpgrade } from '../support/chat-client.js'
import { allow, allOperations, rule, tenantPolicy } from '../support/policies.js'
import type { TestGateway } from '../support/gateway.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'

const anonymous = [{ anonymous: true as const }]
const everyone = [{ authenticated: true as const }, ...anonymous]

const openTenant: Partial<TenantPolicy> = {
  channels: [
    rule('lobby', { grants: [allow(['Subscribe', 'Publish'], everyone)] }),
    rule('members'),
    rule('open', { grants: [allow(allOperations, everyone)] }),
    rule('dm:', { grants: [allow(['Publish'], everyone)] }),
    rule('dm:{user}', { grants: [allow(allOperations, everyone)] }),
  ],
}

interface Guest {
  readonly client: ChatClient
  readonly user: string
  readonly token: string
}

/** Connects a guest. `path` follows the URL of the endpoint, such as `/abc` or `?guest_token=…`. */
async function guestAt(gateway: TestGateway, path = '', protocols: string[] = []): Promise<Guest> {
  const client = await ChatClient.open(`${chatUrl(gateway)}${path}`, { protocols })
  const { guest_token: token, user_id: user } = await client.next('welcome')
  await client.settle()
  return { client, user: String(user), token: String(token) }
}

const refusalAt = async (gateway: TestGateway, path: string): Promise<unknown> => {
  const { body, status } = await refusedUpgrade(`${chatUrl(gateway)}${path}`)
  return { status, ...(body as object) }
}

describe('a guest', () => {
  test('has a user id that the server issues; client_id only labels the connection', async () => {
    const gateway = await gatewayFor(openTenant)
    const client = await ChatClient.open(`${chatUrl(gateway)}/abc`)
    expect(await client.next('welcome')).toMatchObject({
      client_id: 'abc',
      user_id: expect.stringMatching(/^guest:[\w-]{22}$/) as string,
      guest_token: expect.stringMatching(/^guest\./) as string,
    })
  })

  test('sends messages with that user id', async () => {
    const gateway = await gatewayFor(openTenant)
    const [abc, ann] = [await guestAt(gateway), await chatAs(gateway, 'ann')]
    abc.client.send({ type: 'chat', content: 'hi' })
    expect(await ann.next('chat')).toMatchObject({ from: abc.user, content: 'hi' })
  })

  test('may do what is granted to anonymous, and nothing else', async () => {
    const gateway = await gatewayFor(openTenant)
    const { client } = await guestAt(gateway)
    expect(await client.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
    for (const refused of [
      { type: 'join_room', room: 'members' },
      { type: 'history', room: 'lobby' },
    ])
      expect(await client.ask(refused)).toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('receives direct messages to its user id', async () => {
    const gateway = await gatewayFor(openTenant)
    const [abc, ann] = [await guestAt(gateway), await chatAs(gateway, 'ann')]
    await ann.done({ type: 'direct_message', target_user: abc.user, content: 'psst' })
    expect(await abc.client.next('direct_message')).toMatchObject({ from: 'ann', content: 'psst' })
  })

  test('is refused where no rule grants anything to anonymous, with a guest token too', async () => {
    const open = await gatewayFor(openTenant)
    const { token } = await guestAt(open)
    open.catalog.put(tenantPolicy())
    for (const path of ['/abc', `?guest_token=${token}`])
      expect(await refusalAt(open, path)).toMatchObject({ status: 401, code: 'UNAUTHORIZED' })
  })

  test('is closed when the tenant no longer allows guests', async () => {
    const gateway = await gatewayFor(openTenant)
    const [abc, ann] = [await guestAt(gateway), await chatAs(gateway, 'ann')]
    gateway.catalog.put(tenantPolicy())
    expect(await abc.client.closed()).toMatchObject({ code: 3507 })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })
})

describe('a user', () => {
  test('gets no guest token', async () => {
    const gateway = await gatewayFor(openTenant)
    const client = await ChatClient.open(`${chatUrl(gateway)}?token=${await gateway.token('ann')}`)
    expect(await client.next('welcome')).not.toHaveProperty('guest_token')
  })
})

describe('with its guest token a guest comes back as the same guest', () => {
  test('in the query, as the token and in the subprotocol', async () => {
    const gateway = await gatewayFor(openTenant)
    const { token, user } = await guestAt(gateway, '/abc')
    const again = await Promise.all([
      guestAt(gateway, `/other?guest_token=${token}`),
      guestAt(gateway, `?token=${token}`),
      guestAt(gateway, '', ['parley.chat.v1', token]),
    ])
    expect(again.map((guest) => guest.user)).toEqual([user, user, user])
  })

  test('and reads the direct messages that were stored meanwhile', async () => {
    const gateway = await gatewayFor(openTenant)
    const [first, ann] = [await guestAt(gateway), await chatAs(gateway, 'ann')]
    await leave(first.client, gateway)
    await ann.done({ type: 'direct_message', target_user: first.user, content: 'while you were out' })
    const { client } = await guestAt(gateway, `?guest_token=${first.token}`)
    await client.done({ type: 'history', room: `dm:${first.user}` })
    expect(await client.next('history')).toMatchObject({ messages: [{ content: 'while you were out' }] })
  })

  test('on another gateway with the same secrets; with other secrets it is a new guest', async () => {
    const guestSecrets = [Buffer.alloc(32, 7)]
    const [one, two] = [
      await gatewayFor(openTenant, { guestSecrets }),
      await gatewayFor(openTenant, { guestSecrets }),
    ]
    const { token, user } = await guestAt(one)
    expect((await guestAt(two, `?guest_token=${token}`)).user).toBe(user)
    const restarted = await guestAt(await gatewayFor(openTenant), `?guest_token=${token}`)
    expect(restarted.user).toMatch(/^guest:[\w-]{22}$/)
    expect(restarted.user).not.toBe(user)
  })
})

describe('nobody can take over a guest', () => {
  const attacks = [
    'with its client id',
    'with its client id in the query',
    'with its user id as client id',
    'with the id in its user id as client id',
  ]
  test.each(attacks)('%s', async (attack) => {
    const gateway = await gatewayFor(openTenant)
    const [victim, ann] = [await guestAt(gateway, '/abc'), await chatAs(gateway, 'ann')]
    const id = victim.user.slice('guest:'.length)
    const paths = ['/abc', '?client_id=abc', `/${encodeURIComponent(victim.user)}`, `/${id}`]
    const path = paths[attacks.indexOf(attack)] ?? ''
    if (path.includes('%3A')) {
      expect(await refusalAt(gateway, path)).toMatchObject({ status: 400, code: 'BAD_REQUEST' })
      return
    }
    const attacker = await guestAt(gateway, path)
    expect(attacker.user).not.toBe(victim.user)

    await ann.done({ type: 'direct_message', target_user: victim.user, content: 'psst' })
    await victim.client.next('direct_message')
    for (const type of ['join_room', 'history', 'presence'])
      expect(await attacker.client.ask({ type, room: `dm:${victim.user}` })).toMatchObject({
        code: 'PERMISSION_DENIED',
      })
    attacker.client.send({ type: 'chat', content: 'it is me' })
    expect(await ann.next('chat')).toMatchObject({ from: attacker.user })
    const events = await attacker.client.settle()
    expect(events.filter(({ event }) => event === 'direct_message')).toEqual([])
  })

  test('with the token of a user, whatever its sub', async () => {
    const gateway = await gatewayFor(openTenant)
    const { user } = await guestAt(gateway)
    for (const sub of [user, 'guest:abc', 'guest:'])
      expect(await refusalAt(gateway, `?token=${await gateway.token(sub)}`)).toMatchObject({
        status: 401,
        code: 'TOKEN_INVALID',
      })
    // Names that only look like it are other users, with direct messages of their own.
    const ann = await chatAs(gateway, 'ann')
    for (const sub of [user.replace('guest', 'Guest'), encodeURIComponent(user), user.replace(':', '：')]) {
      const client = await chatAs(gateway, sub)
      await ann.done({ type: 'direct_message', target_user: user, content: 'psst' })
      expect((await client.settle()).filter(({ event }) => event === 'direct_message')).toEqual([])
      expect(await client.ask({ type: 'join_room', room: `dm:${user}` })).toMatchObject({
        code: 'PERMISSION_DENIED',
      })
    }
  })

  test('with a guest token that was changed, or made up', async () => {
    const gateway = await gatewayFor(openTenant)
    const { token, user } = await guestAt(gateway)
    const other = await guestAt(gateway)
    const forged = [
      token.slice(0, -1),
      `${token}A`,
      token.slice(0, token.lastIndexOf('.')),
      other.token.replace(other.user.slice('guest:'.length), user.slice('guest:'.length)),
      token.slice(0, 'guest.'.length + 12) + token.slice('guest.'.length + 12).toUpperCase(),
      `guest.${Buffer.from(`{"alg":"none","sub":"${user}"}`).toString('base64url')}.`,
    ]
    for (const each of forged)
      expect(await refusalAt(gateway, `?guest_token=${encodeURIComponent(each)}`)).toMatchObject({
        status: 401,
        code: 'TOKEN_INVALID',
      })
  })

  test('with a guest token of another tenant: its bearer is a new guest', async () => {
    const gateway = await gatewayFor([
      tenantPolicy(openTenant),
      tenantPolicy({ ...openTenant, name: 'globex' }),
    ])
    const { token, user } = await guestAt(gateway)
    const client = await ChatClient.open(`${chatUrl(gateway, 'demo/globex')}?guest_token=${token}`)
    const { user_id: there } = await client.next('welcome')
    expect(there).toMatch(/^guest:[\w-]{22}$/)
    expect(there).not.toBe(user)
  })
})

describe('two guests with one client id', () => {
  test('are two users with messages, presence entries and idempotency keys of their own', async () => {
    const gateway = await gatewayFor(openTenant)
    const [one, two] = [await guestAt(gateway, '/abc'), await guestAt(gateway, '/abc')]
    expect(one.user).not.toBe(two.user)
    for (const { client } of [one, two]) await client.done({ type: 'join_room', room: 'open' })

    await one.client.done({ type: 'presence', room: 'open' })
    const { members } = await one.client.next('presence')
    expect(members).toHaveLength(2)
    expect(members).toEqual(
      expect.arrayContaining([one, two].map(({ user }) => ({ user_id: user, client_id: 'abc' }))),
    )

    // The same key of two guests is two messages, and neither gets the result of the other.
    await one.client.done({ type: 'room_message', room: 'open', content: 'mine', key: 'k', echo: false })
    expect(await two.client.next('chat')).toMatchObject({ from: one.user, content: 'mine' })
    await two.client.done({ type: 'room_message', room: 'open', content: 'yours', key: 'k', echo: false })
    expect(await one.client.next('chat')).toMatchObject({ from: two.user, content: 'yours' })

    await one.client.done({ type: 'direct_message', target_user: two.user, content: 'psst' })
    expect(await two.client.next('direct_message')).toMatchObject({ from: one.user })
    expect((await one.client.settle()).filter(({ event }) => event === 'direct_message')).toEqual([])
  })
})
