// Exceeded quotas as a client sees them: the code, the message, and whether it may retry.
import { describe, expect, test } from 'vitest'
import { gatewayFor, sdkOf, next } from '../support/centrifuge-sdk.js'
import { MovableClock } from '../support/clock.js'
import { rawAs, rawAt } from '../support/frames.js'
import { generousLimits, rule, tenantPolicy } from '../support/policies.js'
import type { Limits } from '../../src/tenant/policy.js'

type Part<Section extends keyof Limits> = Partial<Limits[Section]>

function limits(parts: {
  connections?: Part<'connections'>
  messages?: Part<'messages'>
  channels?: Part<'channels'>
}): Limits {
  return {
    ...generousLimits,
    connections: { ...generousLimits.connections, ...parts.connections },
    messages: { ...generousLimits.messages, ...parts.messages },
    channels: { ...generousLimits.channels, ...parts.channels },
  }
}

describe('rates', () => {
  test('commands of one connection: 111 temporary, then 3013 for a client that does not stop', async () => {
    const gateway = await gatewayFor(
      { limits: limits({ connections: { commandsPerSecond: 10 } }) },
      { clock: new MovableClock() },
    )
    const ann = await rawAs(gateway, 'ann')
    const frame = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => ({
        id: from + index,
        presence_stats: { channel: 'general' },
      }))
    ann.send(...frame(2, 60))
    expect(await ann.closed()).toMatchObject({ code: 3013, reason: 'too many requests' })
    const refused = ann.lines.waiting.filter((line) => line.includes('"error"'))
    expect(JSON.parse(refused[0] ?? '{}')).toMatchObject({
      error: {
        code: 111,
        message: 'TOO_MANY_REQUESTS: This connection has used its 10 commands per second; slow down',
        temporary: true,
      },
    })
    expect(refused).toHaveLength(20)
  })

  test('commands are accepted again after the retry time', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({ limits: limits({ connections: { commandsPerSecond: 2 } }) }, { clock })
    const ann = await rawAs(gateway, 'ann')
    ann.send(...[2, 3, 4].map((id) => ({ id, presence_stats: { channel: 'general' } })))
    expect(await ann.reply(4)).toMatchObject({ error: { code: 111 } })
    clock.move(1000, gateway)
    expect(await ann.ask(5, { presence_stats: { channel: 'general' } })).toHaveProperty('presence_stats')
  })

  test('publishes of the tenant: 111 temporary, with the rate', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor(
      { limits: limits({ messages: { publishPerSecond: 1, publishBurst: 2 } }) },
      { clock },
    )
    const [ann, bob] = await Promise.all([rawAs(gateway, 'ann'), rawAs(gateway, 'bob')])
    const publish = { publish: { channel: 'general', data: 1 } }
    await ann.ask(2, publish)
    await bob.ask(2, publish)
    expect(await bob.ask(3, publish)).toEqual({
      id: 3,
      error: {
        code: 111,
        message:
          'QUOTA_EXCEEDED: Cannot publish to "general": 1 of 1 publications per second (burst 2) are used',
        temporary: true,
        retry_after_ms: 1000,
      },
    })
    clock.move(1000, gateway)
    expect(await ann.ask(3, publish)).toEqual({ id: 3, publish: {} })
  })

  test('deliveries of the tenant: publishes are refused while they are in debt', async () => {
    const gateway = await gatewayFor(
      { limits: limits({ messages: { fanoutPerSecond: 2 } }) },
      { clock: new MovableClock() },
    )
    const clients = await Promise.all(['ann', 'bob', 'carol'].map((user) => rawAs(gateway, user)))
    await Promise.all(clients.map((client) => client.ask(2, { subscribe: { channel: 'general' } })))
    const [ann] = clients
    expect(await ann?.ask(3, { publish: { channel: 'general', data: 1 } })).toHaveProperty('publish')
    expect(await ann?.ask(4, { publish: { channel: 'general', data: 2 } })).toMatchObject({
      error: {
        code: 111,
        temporary: true,
        message: expect.stringMatching(/2 deliveries per second are used$/) as string,
      },
    })
  })

  test('connects of the tenant: 111 temporary, and the SDK connects later', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({ limits: limits({ connections: { connectsPerSecond: 1 } }) }, { clock })
    await rawAs(gateway, 'ann')
    const bob = sdkOf(gateway, 'bob')
    const problem = next(bob, 'error')
    const entered = next(bob, 'connected')
    bob.connect()
    expect((await problem).error).toMatchObject({ code: 111, temporary: true })
    clock.move(1000, gateway)
    await entered
  })

  test('a flood of commands in one frame: 3013 at once', async () => {
    const ann = await rawAs(await gatewayFor(), 'ann')
    ann.send(Array.from({ length: 1025 }, () => '{"id":2,"rpc":{"method":"x"}}').join('\n'))
    expect((await ann.closed()).code).toBe(3013)
  })

  test('a lowered rate applies at once', async () => {
    const gateway = await gatewayFor()
    const ann = await rawAs(gateway, 'ann')
    gateway.catalog.put(
      tenantPolicy({ limits: limits({ messages: { publishPerSecond: 0, publishBurst: 0 } }) }),
    )
    expect(await ann.ask(2, { publish: { channel: 'general', data: 1 } })).toMatchObject({
      error: { code: 111 },
    })
  })
})

describe('counts', () => {
  const channels = [rule('a'), rule('b'), rule('c')]
  const subscribe = (channel: string) => ({ subscribe: { channel } })

  test('subscriptions of one connection: 106', async () => {
    const gateway = await gatewayFor({
      channels,
      limits: limits({ channels: { maxSubscriptionsPerConnection: 1 } }),
    })
    const ann = await rawAs(gateway, 'ann')
    await ann.ask(2, subscribe('a'))
    expect(await ann.ask(3, subscribe('b'))).toEqual({
      id: 3,
      error: {
        code: 106,
        message:
          'SUBSCRIPTION_LIMIT: Cannot subscribe to "b": 1 of 1 subscriptions of this connection are used',
      },
    })
    await ann.ask(4, { unsubscribe: { channel: 'a' } })
    expect(await ann.ask(5, subscribe('b'))).toHaveProperty('subscribe')
  })

  test('subscribers of one channel: 106', async () => {
    const gateway = await gatewayFor({
      channels,
      limits: limits({ channels: { maxSubscribersPerChannel: 1 } }),
    })
    await (await rawAs(gateway, 'ann')).ask(2, subscribe('a'))
    expect(await (await rawAs(gateway, 'bob')).ask(2, subscribe('a'))).toMatchObject({
      error: {
        code: 106,
        message: 'SUBSCRIPTION_LIMIT: Cannot subscribe to "a": it has 1 of 1 subscribers',
      },
    })
  })

  test('channels of the tenant: 106 temporary for a new one, active ones work', async () => {
    const gateway = await gatewayFor({ channels, limits: limits({ channels: { max: 1 } }) })
    const [ann, bob] = await Promise.all([rawAs(gateway, 'ann'), rawAs(gateway, 'bob')])
    await ann.ask(2, subscribe('a'))
    const error = {
      code: 106,
      temporary: true,
      message: expect.stringContaining('1 of 1 channels') as string,
    }
    expect(await bob.ask(2, subscribe('b'))).toMatchObject({ error })
    expect(await bob.ask(3, { publish: { channel: 'c', data: 1 } })).toMatchObject({ error })
    expect(await bob.ask(4, subscribe('a'))).toHaveProperty('subscribe')
  })

  test('connections of one user: 3504', async () => {
    const gateway = await gatewayFor({ limits: limits({ connections: { perUser: 1 } }) })
    await rawAs(gateway, 'ann')
    const second = await rawAt(gateway)
    second.send({ id: 1, connect: { token: await gateway.token('ann') } })
    expect((await second.closed()).code).toBe(3504)
  })

  test('a dry run counts refusals and refuses nothing', async () => {
    const gateway = await gatewayFor({
      channels,
      enforcement: 'DryRun',
      limits: limits({ channels: { maxSubscriptionsPerConnection: 1 } }),
    })
    const ann = await rawAs(gateway, 'ann')
    await ann.ask(2, subscribe('a'))
    expect(await ann.ask(3, subscribe('b'))).toHaveProperty('subscribe')
    expect(gateway.gateway.tenant('demo/acme')?.quota.counters.refusals.get('SUBSCRIPTION_LIMIT')).toBe(1)
  })
})
