// The unmodified centrifuge npm client against a test gateway. What is made here ends with the test that made it.
import {
  Centrifuge,
  type EventMap,
  type Options,
  type Subscription,
  type TypedEventEmitter,
} from 'centrifuge'
import { inject, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { startGateway, type TestGateway } from './gateway.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import type { GatewayOptions } from '../../src/gateway/gateway.js'
import type { GatewayServerOptions } from '../../src/gateway/http/server.js'
import { tenantPolicy } from './policies.js'
import { ProtobufSdk } from './protobuf-sdk.js'
import { TestProxy } from './proxy.js'
import { openTestBroker } from './redis-gateway.js'
import { openTestPresence } from './redis-presence.js'
import { Arrivals, within } from './waiting.js'

declare module 'vitest' {
  interface ProvidedContext {
    /** What the official client speaks here; absent: JSON. */
    wire: 'protobuf'
  }
}

/** Reconnects and resubscribes at once: tests wait for events, not for backoff. */
const hasty = { minReconnectDelay: 10, maxReconnectDelay: 50 }
export const hastySubscription = { minResubscribeDelay: 10, maxResubscribeDelay: 50 }

export async function gatewayFor(
  policies: readonly TenantPolicy[] | Partial<TenantPolicy> = {},
  options: Partial<GatewayOptions> = {},
  serverOptions: GatewayServerOptions = {},
): Promise<TestGateway> {
  const list = isList(policies) ? policies : [tenantPolicy(policies)]
  const gateway = await startGateway(list, options, serverOptions)
  onTestFinished(() => gateway.stop())
  return gateway
}

/** Several of them are as pods that share the Redis at `url`. */
export async function gatewayOnRedis(
  url: string,
  policies?: Parameters<typeof gatewayFor>[0],
  options: Partial<GatewayOptions> = {},
): Promise<TestGateway> {
  const [broker, presence] = [openTestBroker(url), openTestPresence(url)]
  onTestFinished(async () => {
    await Promise.all([broker.close(), presence.close()])
  })
  return gatewayFor(policies, { broker: broker.broker, presence: presence.presence, ...options })
}

function isList(
  policies: readonly TenantPolicy[] | Partial<TenantPolicy>,
): policies is readonly TenantPolicy[] {
  return Array.isArray(policies)
}

export async function proxyFor(gateway: TestGateway): Promise<TestProxy> {
  const proxy = await new TestProxy(gateway.port).start()
  onTestFinished(() => proxy.stop())
  return proxy
}

/** The Centrifuge door of a tenant, at the gateway or at a proxy before it. */
export function door(at: { port: number }, tenant = 'demo/acme'): string {
  return `ws://127.0.0.1:${at.port}/${tenant}/connection/websocket`
}

/** Not connected yet. */
export function sdkAt(
  url: string,
  options: Partial<Options>,
  Client = inject('wire') === 'protobuf' ? ProtobufSdk : Centrifuge,
): Centrifuge {
  const client = new Client(url, { websocket: WebSocket, ...hasty, ...options })
  onTestFinished(() => client.disconnect())
  return client
}

/**
 * As through a balancer: each attempt goes to the next of `urls`. (A list of endpoints is something else to the SDK: ways to try until the
 * first that opens, for good.)
 */
export function sdkAmong(urls: readonly string[], options: Partial<Options>): Centrifuge {
  let attempts = 0
  class Balanced extends WebSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(urls[attempts % urls.length] ?? url, protocols)
      attempts += 1
    }
  }
  return sdkAt(urls[0] ?? '', { websocket: Balanced, ...options })
}

/** Also a gateway that is a process of its own. */
type SdkDoor = Pick<TestGateway, 'port' | 'token'>

export function sdkOf(gateway: SdkDoor, user: string, options: Partial<Options> = {}): Centrifuge {
  return sdkAt(door(gateway), { getToken: () => gateway.token(user), ...options })
}

export async function connected(client: Centrifuge): Promise<Centrifuge> {
  client.connect()
  await within('connecting', client.ready())
  return client
}

export async function connectedAs(
  gateway: SdkDoor,
  user: string,
  options: Partial<Options> = {},
): Promise<Centrifuge> {
  return connected(sdkOf(gateway, user, options))
}

export async function subscribed(
  client: Centrifuge,
  channel: string,
  options: Parameters<Centrifuge['newSubscription']>[1] = {},
): Promise<Subscription> {
  const subscription = client.newSubscription(channel, { ...hastySubscription, ...options })
  subscription.subscribe()
  await within(`subscribing to ${channel}`, subscription.ready())
  return subscription
}

/** `ann` sits behind a line that can be cut, `bob` does not. */
export async function annBehindProxy(policy: Partial<TenantPolicy> = {}) {
  const gateway = await gatewayFor(policy)
  const proxy = await proxyFor(gateway)
  const ann = await connected(sdkAt(door(proxy), { getToken: () => gateway.token('ann') }))
  return { gateway, proxy, ann, bob: await connectedAs(gateway, 'bob') }
}

/** Everything of one event, from now on. */
export function collect<Events extends EventMap, Name extends keyof Events & string>(
  emitter: TypedEventEmitter<Events>,
  name: Name,
): Arrivals<Parameters<Events[Name]>[0]> {
  const arrivals = new Arrivals<Parameters<Events[Name]>[0]>(name)
  const listener = (context: Parameters<Events[Name]>[0]): void => arrivals.push(context)
  emitter.on(name, listener as unknown as Events[Name])
  return arrivals
}

/** The next of one event, from now on. Ask before you cause it. */
export function next<Events extends EventMap, Name extends keyof Events & string>(
  emitter: TypedEventEmitter<Events>,
  name: Name,
): Promise<Parameters<Events[Name]>[0]> {
  const told = within(
    name,
    new Promise<Parameters<Events[Name]>[0]>((resolve) => {
      const listener = (context: Parameters<Events[Name]>[0]): void => resolve(context)
      emitter.once(name, listener as unknown as Events[Name])
    }),
  )
  // A test that fails before it awaits this fails for its own reason.
  told.catch(() => {})
  return told
}

/** Data of publications, as they come. */
export function dataOf(subscription: Subscription): Arrivals<unknown> {
  const arrivals = new Arrivals<unknown>('publication')
  subscription.on('publication', ({ data }) => arrivals.push(data))
  return arrivals
}
