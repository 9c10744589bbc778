// Guests: clients without a token, where the tenant allows them.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { ChatClient, chatAs, chatUrl, refusedUpgrade } from '../support/chat-client.js'
import { allow, allOperations, rule, tenantPolicy } from '../support/policies.js'
import type { TestGateway } from '../support/gateway.js'

const anonymous = [{ anonymous: true as const }]
const everyone = [{ authenticated: true as const }, ...anonymous]

const openTenant = {
  channels: [
    rule('lobby', { grants: [allow(['Subscribe', 'Publish'], everyone)] }),
    rule('members'),
    rule('dm:', { grants: [allow(['Publish'], everyone)] }),
    rule('dm:{user}', { grants: [allow(allOperations, everyone)] }),
  ],
}

async function guest(gateway: TestGateway, clientId: string): Promise<ChatClient> {
  const client = await ChatClient.open(`${chatUrl(gateway)}/${clientId}`)
  await client.settle()
  return client
}

describe('a guest', () => {
  test('has the user id guest:<client_id>', async () => {
    const gateway = await gatewayFor(openTenant)
    const client = await ChatClient.open(`${chatUrl(gateway)}/abc`)
    expect(await client.next('welcome')).toMatchObject({ client_id: 'abc', user_id: 'guest:abc' })
  })

  test('sends messages with that user id', async () => {
    const gateway = await gatewayFor(openTenant)
    const [abc, ann] = [await guest(gateway, 'abc'), await chatAs(gateway, 'ann')]
    abc.send({ type: 'chat', content: 'hi' })
    expect(await ann.next('chat')).toMatchObject({ from: 'guest:abc', content: 'hi' })
  })

  test('may do what is granted to anonymous, and nothing else', async () => {
    const gateway = await gatewayFor(openTenant)
    const abc = await guest(gateway, 'abc')
    expect(await abc.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
    expect(await abc.ask({ type: 'join_room', room: 'members' })).toMatchObject({ code: 'PERMISSION_DENIED' })
    expect(await abc.ask({ type: 'history', room: 'lobby' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('receives direct messages to guest:<client_id>', async () => {
    const gateway = await gatewayFor(openTenant)
    const [abc, ann] = [await guest(gateway, 'abc'), await chatAs(gateway, 'ann')]
    await ann.done({ type: 'direct_message', target_user: 'guest:abc', content: 'psst' })
    expect(await abc.next('direct_message')).toMatchObject({ from: 'ann', content: 'psst' })
  })

  test('does not receive direct messages to a user whose id equals its client id', async () => {
    const gateway = await gatewayFor(openTenant)
    const [false_, ann] = [await guest(gateway, 'bob'), await chatAs(gateway, 'ann')]
    await ann.done({ type: 'direct_message', target_user: 'bob', content: 'psst' })
    expect((await false_.settle()).filter(({ event }) => event === 'direct_message')).toEqual([])
  })

  test('cannot read a user’s direct messages', async () => {
    const gateway = await gatewayFor(openTenant)
    const client = await guest(gateway, 'bob')
    expect(await client.ask({ type: 'join_room', room: 'dm:bob' })).toMatchObject({
      code: 'PERMISSION_DENIED',
    })
  })

  test('cannot be impersonated with a token', async () => {
    const gateway = await gatewayFor(openTenant)
    const token = await gateway.token('guest:abc')
    const { status, body } = await refusedUpgrade(`${chatUrl(gateway)}?token=${token}`)
    expect({ status, body }).toMatchObject({ status: 401, body: { code: 'TOKEN_INVALID' } })
  })

  test('is refused where no rule grants anything to anonymous', async () => {
    const gateway = await gatewayFor()
    const { status, body } = await refusedUpgrade(`${chatUrl(gateway)}/abc`)
    expect({ status, body }).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } })
  })

  test('is closed when the tenant no longer allows guests', async () => {
    const gateway = await gatewayFor(openTenant)
    const [abc, ann] = [await guest(gateway, 'abc'), await chatAs(gateway, 'ann')]
    gateway.catalog.put(tenantPolicy())
    expect(await abc.closed()).toMatchObject({ code: 3507 })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })
})
