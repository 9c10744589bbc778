// Clients of both endpoints of gateway processes. They reconnect automatically and log what they receive.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'
import { mintToken } from '../../src/auth/mint.js'
import type { Position } from '../../src/broker/broker.js'
import { compileManifests } from '../../src/compile/manifests.js'
import { FilesCatalog } from '../../src/catalog/files.js'
import { ChatRequests, CodedError } from '../support/chat-requests.js'
import { until } from '../support/redis-processes.js'
import type { Channel, Publisher } from './load.js'
import type { LogItem, SubscriberLog } from './oracle.js'

const tenants = ['red', 'blue']

/** The key of the server API of the tenant `green`. */
export const greenApiKey = 'green-key-for-tests-of-hostile-backends-and-nothing-else'

/**
 * The tenant of hostile clients: on a plan with the default limits, and open to guests. The oracle does not
 * know its channels.
 */
const hostileTenant = `---
apiVersion: parley.chat/v1alpha1
kind: ChatPlan
metadata: { name: default }
spec: {}
---
apiVersion: parley.chat/v1alpha1
kind: ChatTenant
metadata: { name: green, namespace: faults }
spec:
  planRef: { name: default }
  auth:
    - { name: test, type: SharedKey, keyRef: { name: green-key, key: hmac } }
  channels:
    - name: all
      match: { type: Pattern, value: '*' }
      grants:
        - operations: [Subscribe, Publish, Presence, History]
          subjects: [{ authenticated: true }, { anonymous: true }]
      history: { size: 100, ttl: 2m }
      presence: true
      joinLeave: true
---
apiVersion: v1
kind: Secret
metadata: { name: green-key, namespace: faults }
stringData: { hmac: key-of-green-for-tests-of-faults-and-nothing-else, api: ${greenApiKey} }
---
apiVersion: parley.chat/v1alpha1
kind: ChatCredential
metadata: { name: green-backend, namespace: faults }
spec:
  tenantRef: { name: green }
  role: Admin
  importSecretRef: { name: green-key, key: api }
`

const plan = (connectsPerSecond: number): string => `apiVersion: parley.chat/v1alpha1
kind: ChatPlan
metadata: { name: faults }
spec:
  limits:
    connections: { max: 10000, perUser: 5000, connectsPerSecond: ${connectsPerSecond}, commandsPerSecond: 10000 }
    messages: { publishPerSecond: 100000, publishBurst: 100000, maxBytes: 32768, fanoutPerSecond: 1000000, readsPerSecond: 100000, joinsPerSecond: 100000, bytesOutPerSecond: 1000000000 }
    api: { requestsPerSecond: 100000 }
    channels: { max: 1000, maxSubscribersPerChannel: 10000, maxSubscriptionsPerConnection: 100 }
    retention: { historyMessages: 100000, historyTTL: 24h }
`

const tenantManifest = (name: string): string => `---
apiVersion: parley.chat/v1alpha1
kind: ChatTenant
metadata: { name: ${name}, namespace: faults }
spec:
  planRef: { name: faults }
  auth:
    - { name: test, type: SharedKey, keyRef: { name: ${name}-key, key: hmac } }
  channels:
    - name: all
      match: { type: Pattern, value: '*' }
      grants:
        - operations: [Subscribe, Publish, Presence, History]
          subjects: [{ authenticated: true }]
      history: { size: 100000, ttl: 1h }
      presence: true
---
apiVersion: v1
kind: Secret
metadata: { name: ${name}-key, namespace: faults }
stringData: { hmac: key-of-${name}-for-tests-of-faults-and-nothing-else }
`

/** A folder of tenant manifests, and the tokens for clients of these tenants. */
export class Tenants {
  readonly folder: string
  readonly #catalog: FilesCatalog

  private constructor(folder: string) {
    this.folder = folder
    this.#catalog = FilesCatalog.open(folder, { compile: compileManifests })
    const problems = this.#catalog.problems
    if (problems.length > 0) throw new Error(JSON.stringify(problems))
  }

  static async write({ connectsPerSecond = 10_000 } = {}): Promise<Tenants> {
    const folder = await mkdtemp(join(tmpdir(), 'parley-faults-'))
    await writeFile(
      join(folder, 'faults.yaml'),
      plan(connectsPerSecond) + tenants.map(tenantManifest).join('') + hostileTenant,
    )
    return new Tenants(folder)
  }

  /** The tenant's ID in the broker. */
  idOf(tenant: string): string {
    return this.#policy(tenant).tenantId
  }

  async token(tenant: string, user: string): Promise<string> {
    const [issuer] = this.#policy(tenant).issuers
    if (!issuer) throw new Error(`${tenant} has no issuer`)
    // Longer than the longest soak.
    return mintToken(issuer, { user, expiresInS: 604_800, nowMs: Date.now() })
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }

  #policy(tenant: string) {
    const policy = this.#catalog.get(`faults/${tenant}`)
    if (!policy) throw new Error(`no tenant ${tenant}`)
    return policy
  }
}

/** Makes messages larger. It is sent in addition to the text that the oracle compares. */
const padding = 'x'.repeat(200)

export interface EndpointClient {
  readonly logs: readonly SubscriberLog[]
  readonly publisher: Publisher
  /** How often the connection was lost. */
  readonly losses: number
  close(): void
}

export interface ClientOptions {
  readonly name: string
  readonly tenant: string
  readonly channels: readonly Channel[]
  /** Port of a load balancer or of a gateway. */
  readonly port: number
  readonly tenants: Tenants
}

class Logs {
  readonly all: (SubscriberLog & { readonly items: LogItem[] })[]

  constructor({ channels, name, tenant }: ClientOptions) {
    this.all = channels
      .filter((one) => one.tenant === tenant)
      .map(({ channel }) => ({ name, tenant, channel, items: [] }))
  }

  add(channel: string, kind: 'from' | 'mark', position: Position): void {
    this.#of(channel)?.items.push({ kind, position, atMs: performance.now() })
  }

  received(channel: string, position: Position, text: string): void {
    this.#of(channel)?.items.push({ kind: 'received', position, text, atMs: performance.now() })
  }

  isNew(channel: string): boolean {
    return this.#of(channel)?.items.length === 0
  }

  /** Position of the last item of the channel. */
  position(channel: string): Position | undefined {
    return this.#of(channel)?.items.at(-1)?.position
  }

  #of(channel: string) {
    return this.all.find((log) => log.channel === channel)
  }
}

/** Connects a client with the unmodified `centrifuge` package. */
export async function sdkClient(options: ClientOptions): Promise<EndpointClient> {
  const { channels, name, port, tenant, tenants: manifests } = options
  const logs = new Logs(options)
  const token = await manifests.token(tenant, name)
  const client = new Centrifuge(`ws://127.0.0.1:${port}/faults/${tenant}/connection/websocket`, {
    websocket: WebSocket,
    token,
    minReconnectDelay: 50,
    maxReconnectDelay: 500,
  })
  let losses = 0
  client.on('connecting', ({ code }) => {
    if (code !== 0) losses += 1
  })
  const own = channels.filter((one) => one.tenant === tenant)
  const ready = own.map(({ channel }) => {
    const subscription = client.newSubscription(channel, {
      recoverable: true,
      positioned: true,
      minResubscribeDelay: 50,
      maxResubscribeDelay: 500,
    })
    let epoch = ''
    subscription.on('subscribed', ({ recovered, streamPosition, wasRecovering }) => {
      if (!streamPosition) return
      epoch = streamPosition.epoch
      if (!wasRecovering || !recovered)
        logs.add(channel, logs.isNew(channel) ? 'from' : 'mark', streamPosition)
    })
    subscription.on('publication', ({ data, offset = 0 }) =>
      logs.received(channel, { epoch, offset }, (data as { t: string }).t),
    )
    subscription.subscribe()
    return subscription.ready(20_000)
  })
  client.connect()
  await Promise.all(ready)
  return {
    logs: logs.all,
    get losses() {
      return losses
    },
    publisher: {
      name,
      tenant,
      keys: false,
      async publish(to, text) {
        try {
          await client.publish(to.channel, { t: text, padding })
        } catch (error) {
          throw new CodedError(String((error as { code?: unknown }).code))
        }
        return undefined
      },
    },
    close: () => client.disconnect(),
  }
}

/** A client of the chat endpoint that implements docs/chat-protocol.md. */
export class ReconnectingChatClient implements EndpointClient {
  readonly #options: ClientOptions
  readonly #logs: Logs
  readonly #requests = new ChatRequests<ChatAnswer>()
  #socket: WebSocket | undefined
  #closed = false
  losses = 0

  private constructor(options: ClientOptions) {
    this.#options = options
    this.#logs = new Logs(options)
  }

  static async open(options: ClientOptions): Promise<ReconnectingChatClient> {
    const client = new ReconnectingChatClient(options)
    client.#connect(await options.tenants.token(options.tenant, options.name))
    const joined = () =>
      client.#socket?.readyState === WebSocket.OPEN && client.logs.every(({ items }) => items.length > 0)
    await until('joined rooms', joined, { deadlineMs: 20_000 })
    return client
  }

  get logs(): readonly SubscriberLog[] {
    return this.#logs.all
  }

  get publisher(): Publisher {
    const { name, tenant } = this.#options
    return {
      name,
      tenant,
      keys: true,
      publish: async (to, text, key) => {
        const command = { type: 'room_message', room: to.channel, content: { t: text, padding }, key }
        const { epoch, offset } = await this.ask(command)
        return epoch === undefined || offset === undefined ? undefined : { epoch, offset }
      },
    }
  }

  /** See `ChatRequests.ask`. */
  ask(command: object): Promise<ChatAnswer> {
    return this.#requests.ask(this.#socket, command)
  }

  close(): void {
    this.#closed = true
    this.#socket?.terminate()
  }

  #connect(token: string): void {
    if (this.#closed) return
    const { port, tenant } = this.#options
    const socket = new WebSocket(`ws://127.0.0.1:${port}/faults/${tenant}/ws?token=${token}`)
    this.#socket = socket
    socket.on('open', () => {
      for (const { channel } of this.#logs.all) this.#join(socket, channel)
    })
    socket.on('message', (data: Buffer) => this.#onEvent(JSON.parse(data.toString()) as ChatAnswer, socket))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.losses += 1
      this.#requests.rejectAll()
      setTimeout(() => this.#connect(token), 50 + Math.random() * 200)
    })
  }

  #join(socket: WebSocket, room: string): void {
    const since = this.#logs.isNew(room) ? undefined : this.#logs.position(room)
    if (socket.readyState === WebSocket.OPEN)
      socket.send(JSON.stringify({ type: 'join_room', room, id: `join ${room}`, ...(since && { since }) }))
  }

  #onEvent(event: ChatAnswer, socket: WebSocket): void {
    const { epoch = '', id, offset = 0, room = '' } = event
    if (event.event === 'ping') socket.send(JSON.stringify({ type: 'pong' }))
    else if (event.event === 'chat') this.#logs.received(room, { epoch, offset }, event.content?.t ?? '')
    else if (event.event === 'joined') {
      if (this.#logs.isNew(room)) this.#logs.add(room, 'from', { epoch, offset })
      else if (event.recovered !== true) this.#logs.add(room, 'mark', { epoch, offset })
    } else if (event.event === 'error' && id?.startsWith('join ')) {
      setTimeout(() => this.#join(socket, id.slice(5)), 200)
    } else if (id !== undefined) this.#requests.answer(id, event)
  }
}

interface ChatAnswer {
  readonly event: string
  readonly id?: string
  readonly room?: string
  readonly epoch?: string
  readonly offset?: number
  readonly code?: string
  readonly recovered?: boolean
  readonly content?: { readonly t: string }
  readonly members?: readonly unknown[]
}
