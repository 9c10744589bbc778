// The unmodified centrifuge npm client with a test gateway. Clients, gateways and proxies are closed at the
// end of the test that created them.
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
    /** The wire format of the official client. Absent: JSON. */
    wire: 'protobuf'
  }
}

/** Short delays for reconnects, so that tests do not wait for the backoff of the SDK. */
const fastReconnect = { minReconnectDelay: 10, maxReconnectDelay: 50 }
export const fastResubscribe = { minResubscribeDelay: 10, maxResubscribeDelay: 50 }

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

/** Starts a gateway on the Redis at `url`. Several of them behave like pods that share the Redis. */
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

/** Returns the URL of a tenant's Centrifuge endpoint, at the gateway or at a proxy in front of it. */
export function centrifugeUrl(at: { port: number }, tenant = 'demo/acme'): string {
  return `ws://127.0.0.1:${at.port}/${tenant}/connection/websocket`
}

/** Makes a client that is not connected yet. */
export function sdkAt(
  url: string,
  options: Partial<Options>,
  Client = inject('wire') === 'protobuf' ? ProtobufSdk : Centrifuge,
): Centrifuge {
  const client = new Client(url, { websocket: WebSocket, ...fastReconnect, ...options })
  onTestFinished(() => client.disconnect())
  return client
}

/**
 * Makes a client behind a load balancer: each attempt connects to the next of `urls`. (A list of endpoints of
 * the SDK is different: it tries them until one opens, and keeps that one.)
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

/** A gateway in this process or another one. */
type SdkEndpoint = Pick<TestGateway, 'port' | 'token'>

export function sdkOf(gateway: SdkEndpoint, user: string, options: Partial<Options> = {}): Centrifuge {
  return sdkAt(centrifugeUrl(gateway), { getToken: () => gateway.token(user), ...options })
}

export async function connected(client: Centrifuge): Promise<Centrifuge> {
  client.connect()
  await within('connecting', client.ready())
  return client
}

export async function connectedAs(
  gateway: SdkEndpoint,
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
  const subscription = client.newSubscription(channel, { ...fastResubscribe, ...options })
  subscription.subscribe()
  await within(`subscribing to ${channel}`, subscription.ready())
  return subscription
}

/** Connects `ann` through a proxy that can cut the connection, and `bob` directly. */
export async function annBehindProxy(policy: Partial<TenantPolicy> = {}) {
  const gateway = await gatewayFor(policy)
  const proxy = await proxyFor(gateway)
  const ann = await connected(sdkAt(centrifugeUrl(proxy), { getToken: () => gateway.token('ann') }))
  return { gateway, proxy, ann, bob: await connectedAs(gateway, 'bob') }
}

/** Collects all events of one name from now on. */
export function collect<Events extends EventMap, Name extends keyof Events & string>(
  emitter: TypedEventEmitter<Events>,
  name: Name,
): Arrivals<Parameters<Events[Name]>[0]> {
  const arrivals = new Arrivals<Parameters<Events[Name]>[0]>(name)
  const listener = (context: Parameters<Events[Name]>[0]): void => arrivals.push(context)
  emitter.on(name, listener as unknown as Events[Name])
  return arrivals
}

/** Resolves with the next event of that name. Call it before the action that causes the event. */
export function next<Events extends EventMap, Name extends keyof Events & string>(
  emitter: TypedEventEmitter<Events>,
  name: Name,
): Promise<Parameters<Events[Name]>[0]> {
  const event = within(
    name,
    new Promise<Parameters<Events[Name]>[0]>((resolve) => {
      const listener = (context: Parameters<Events[Name]>[0]): void => resolve(context)
      emitter.once(name, listener as unknown as Events[Name])
    }),
  )
  // A test that fails before it awaits this must not fail with this rejection.
  event.catch(() => {})
  return event
}

/** Collects the data of publications. */
export function dataOf(subscription: Subscription): Arrivals<unknown> {
  const arrivals = new Arrivals<unknown>('publication')
  subscription.on('publication', ({ data }) => arrivals.push(data))
  return arrivals
}
