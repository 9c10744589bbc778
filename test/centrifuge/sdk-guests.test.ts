// Guests with the official client: their identity is issued by the server, and a guest token brings it back.
import type { Centrifuge, ConnectedContext } from 'centrifuge'
import { describe, expect, test } from 'vitest'
import { centrifugeUrl, gatewayFor, next, proxyFor, sdkAt, subscribed } from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { allow, allOperations, rule, tenantPolicy } from '../support/policies.js'

const everyone = [{ authenticated: true as const }, { anonymous: true as const }]
const openTenant = {
  channels: [
    rule('lobby', { grants: [allow(allOperations, everyone)] }),
    rule('members'),
    rule('dm:{user}', { grants: [allow(allOperations, everyone)] }),
  ],
}

interface Guest {
  readonly client: Centrifuge
  readonly user: string
  readonly token: string
}

function readGuest(context: ConnectedContext): { user: string; token: string } {
  const { guest_token: token, user_id: user } = context.data as { guest_token: string; user_id: string }
  return { user, token }
}

async function guestAt(gateway: Pick<TestGateway, 'port'>, token = '', tenant = 'demo/acme'): Promise<Guest> {
  const client = sdkAt(centrifugeUrl(gateway, tenant), { token })
  const ready = next(client, 'connected')
  client.connect()
  return { client, ...readGuest(await ready) }
}

async function refusalOf(gateway: TestGateway, token: string): Promise<number> {
  const client = sdkAt(centrifugeUrl(gateway), { token })
  const over = next(client, 'disconnected')
  client.connect()
  return (await over).code
}

describe('a guest', () => {
  test('learns its user and its guest token from the data of the connect reply', async () => {
    const gateway = await gatewayFor(openTenant)
    const { client, token, user } = await guestAt(gateway)
    expect(user).toMatch(/^guest:[\w-]{22}$/)
    expect(token).toMatch(/^guest\./)
    const lobby = await subscribed(client, 'lobby')
    expect(Object.values((await lobby.presence()).clients)).toEqual([expect.objectContaining({ user })])
  })

  test('that sets its guest token comes back as the same guest after a reconnect', async () => {
    const guestSecrets = [Buffer.alloc(32, 7)]
    const gateway = await gatewayFor(openTenant, { guestSecrets })
    const proxy = await proxyFor(gateway)
    const { client, token, user } = await guestAt(proxy)
    client.setToken(token)
    const inbox = await subscribed(client, `dm:${user}`)
    const [again, back] = [next(client, 'connected'), next(inbox, 'subscribed')]
    proxy.cut()
    const renewed = readGuest(await again)
    expect(renewed.user).toBe(user)
    await back
    // The renewed token is as good, at another gateway too.
    const other = await gatewayFor(openTenant, { guestSecrets })
    expect((await guestAt(other, renewed.token)).user).toBe(user)
  })

  test('is a new guest with a guest token of another tenant', async () => {
    const gateway = await gatewayFor([
      tenantPolicy(openTenant),
      tenantPolicy({ ...openTenant, name: 'globex' }),
    ])
    const { token, user } = await guestAt(gateway)
    const there = await guestAt(gateway, token, 'demo/globex')
    expect(there.user).toMatch(/^guest:/)
    expect(there.user).not.toBe(user)
  })

  test('cannot be taken over: forged guest tokens and tokens with its name are refused with 3500', async () => {
    const gateway = await gatewayFor(openTenant)
    const { token, user } = await guestAt(gateway)
    const other = await guestAt(gateway)
    const forged = [
      `${token}A`,
      token.slice(0, -1),
      other.token.replace(other.user.slice('guest:'.length), user.slice('guest:'.length)),
      await gateway.token(user),
      await gateway.token('guest:abc', { claims: { channels: [`dm:${user}`] } }),
    ]
    for (const each of forged) expect(await refusalOf(gateway, each)).toBe(3500)
  })

  test('cannot use its guest token as a subscription token', async () => {
    const gateway = await gatewayFor(openTenant)
    const { client, token } = await guestAt(gateway)
    const members = client.newSubscription('members', { token })
    const refused = next(members, 'unsubscribed')
    members.subscribe()
    expect(await refused).toMatchObject({
      code: 103,
      reason: expect.stringContaining('TOKEN_INVALID') as string,
    })
  })
})
