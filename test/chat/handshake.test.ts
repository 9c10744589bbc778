// The handshake: where the token and the client id come from, and the welcome.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { ChatClient, chatAs, chatUrl } from '../support/chat-client.js'
import { generousLimits } from '../support/policies.js'

describe('welcome', () => {
  test('comes first, with ids and limits', async () => {
    const gateway = await gatewayFor({
      limits: {
        ...generousLimits,
        connections: { ...generousLimits.connections, commandsPerSecond: 77 },
        messages: { ...generousLimits.messages, maxBytes: 1234, publishPerSecond: 55 },
        channels: { ...generousLimits.channels, maxSubscriptionsPerConnection: 9 },
      },
    })
    const ann = await chatAs(gateway, 'ann', { clientId: 'phone' })
    expect(JSON.parse(ann.texts[0] ?? '')).toEqual({
      event: 'welcome',
      client_id: 'phone',
      user_id: 'ann',
      limits: { message_bytes: 1234, publish_per_second: 55, commands_per_second: 77, subscriptions: 9 },
    })
  })

  test('is not followed by joined events of the automatic channels', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const events = ann.texts.map((text) => (JSON.parse(text) as { event: string }).event)
    // The last two events answer `settle`.
    expect(events.slice(0, -2)).toEqual(['welcome', 'user_connected'])
  })
})

describe('the token', () => {
  test.each<
    [string, (token: string) => { query?: string; headers?: Record<string, string>; protocols?: string[] }]
  >([
    ['in the query', (token) => ({ query: `?token=${token}` })],
    ['in the Authorization header', (token) => ({ headers: { authorization: `Bearer ${token}` } })],
    ['as the second subprotocol', (token) => ({ protocols: ['parley.chat.v1', token] })],
  ])('%s', async (_where, place) => {
    const gateway = await gatewayFor()
    const { query = '', headers = {}, protocols = [] } = place(await gateway.token('ann'))
    const client = await ChatClient.open(chatUrl(gateway) + query, { protocols, options: { headers } })
    expect(await client.next('welcome')).toMatchObject({ user_id: 'ann' })
  })

  test('as a subprotocol is not echoed; only the protocol name is', async () => {
    const gateway = await gatewayFor()
    const protocols = ['parley.chat.v1', await gateway.token('ann')]
    const client = await ChatClient.open(chatUrl(gateway), { protocols })
    expect(client.socket.protocol).toBe('parley.chat.v1')
  })

  test('in the header has precedence over one in the query', async () => {
    const gateway = await gatewayFor()
    const headers = { authorization: `Bearer ${await gateway.token('ann')}` }
    const client = await ChatClient.open(`${chatUrl(gateway)}?token=${await gateway.token('bob')}`, {
      options: { headers },
    })
    expect(await client.next('welcome')).toMatchObject({ user_id: 'ann' })
  })
})

describe('the client id', () => {
  test.each([
    ['in the query', (url: string, token: string) => `${url}?token=${token}&client_id=abc`],
    ['in the path', (url: string, token: string) => `${url}/abc?token=${token}`],
    ['in both, if it is the same', (url: string, token: string) => `${url}/abc?token=${token}&client_id=abc`],
  ])('%s', async (_where, urlOf) => {
    const gateway = await gatewayFor()
    const client = await ChatClient.open(urlOf(chatUrl(gateway), await gateway.token('ann')))
    expect(await client.next('welcome')).toMatchObject({ client_id: 'abc', user_id: 'ann' })
  })

  test('has 8 random characters when none is given', async () => {
    const gateway = await gatewayFor()
    const url = `${chatUrl(gateway)}?token=${await gateway.token('ann')}`
    const [one, two] = [await ChatClient.open(url), await ChatClient.open(url)]
    const ids = [(await one.next('welcome')).client_id, (await two.next('welcome')).client_id]
    expect(ids).toEqual([expect.stringMatching(/^[a-z0-9]{8}$/), expect.stringMatching(/^[a-z0-9]{8}$/)])
    expect(ids[0]).not.toBe(ids[1])
  })

  test('may be shared by several connections', async () => {
    const gateway = await gatewayFor()
    const [one, two] = [
      await chatAs(gateway, 'ann', { clientId: 'same' }),
      await chatAs(gateway, 'ann', { clientId: 'same' }),
    ]
    one.send({ type: 'chat', content: 1 })
    expect(await two.next('chat')).toMatchObject({ content: 1 })
  })
})
