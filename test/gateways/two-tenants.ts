// Two tenants on the same gateways that differ in nothing but their name: the same keys, channels, users,
// client ids and API key. Whatever one of them does must be neither visible nor effective in the other.
import { setTimeout as sleep } from 'node:timers/promises'
import { createLog } from '../../src/log.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { apiKey, callApi } from '../support/api-client.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { allow, allOperations, generousLimits, rule, tenantPolicy } from '../support/policies.js'
import type { Json } from '../support/raw-client.js'
import { startLedger } from '../support/redis-ledger.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { openTestPresence } from '../support/redis-presence.js'
import { startRedis, until } from '../support/redis-processes.js'
import { openTestRevocations } from '../support/redis-revocations.js'
import { WireClient, wires, type Wire } from '../support/wire-client.js'

/** Everything that clients and backends choose begins with this, so that a leak is found in any text. */
export const mark = 'zq-'
export const names = {
  room: 'zq-room',
  /** Has no history. */
  live: 'zq-live',
  other: 'zq-other',
  /** The user that acts. The other tenant has a user of this name too. */
  actor: 'zq-ann',
  /** The user that is connected all the time, in both tenants. */
  witness: 'zq-bob',
  device: 'zq-device',
  key: 'zq-key',
} as const

const everyone = [{ authenticated: true as const }, { anonymous: true as const }]
const open = { grants: [allow(allOperations, everyone)] }

function policyOf(name: string, overrides: Partial<TenantPolicy> = {}): TenantPolicy {
  return tenantPolicy({
    name,
    apiKeys: [apiKey()],
    channels: [
      rule('all', { match: { type: 'Prefix', value: mark }, ...open }),
      rule('live', { match: { type: 'Literal', value: names.live }, history: null, ...open }),
      rule('lobby', open),
      rule('inbox', { match: { type: 'Pattern', value: 'dm:{user}' }, ...open }),
      rule('direct', {
        match: { type: 'Pattern', value: 'dm:*' },
        grants: [allow(['Publish'], everyone)],
      }),
    ],
    ...overrides,
  })
}

/** The first tenant exceeds a limit with most of its connections, which is logged and not enforced. */
const policies = [
  policyOf('acme', {
    enforcement: 'Warn',
    limits: { ...generousLimits, connections: { ...generousLimits.connections, perUser: 1 } },
  }),
  policyOf('globex'),
]

/** One tenant, seen through its clients and its backend. */
export class Side {
  readonly tenant: string
  /** In all data that this tenant publishes. */
  readonly data: string
  readonly gateways: readonly TestGateway[]
  /** Clients of the witness, at each gateway and each endpoint. They are in the room and in `live`. */
  witnesses: readonly WireClient[] = []
  /** Every token and every message that this tenant has got. */
  readonly tokens: string[] = []
  readonly #clients: WireClient[] = []
  readonly #answers: Json[] = []
  #barriers = 0

  constructor(tenant: string, gateways: readonly TestGateway[]) {
    this.tenant = tenant
    this.data = `${mark}data-of-${tenant}`
    this.gateways = gateways
  }

  async start(): Promise<void> {
    const connecting = this.gateways.flatMap((_gateway, at) =>
      wires.map((wire) => this.connect(wire, { user: names.witness, at })),
    )
    this.witnesses = await Promise.all(connecting)
    for (const client of this.witnesses)
      for (const channel of [names.room, names.live]) await this.join(client, channel)
    for (const channel of [names.room, names.other, 'lobby', `dm:${names.witness}`])
      await this.api('publish', { channel, data: this.data })
    await this.api('revoke', { user: `${mark}revoked` })
    await until('the witnesses to hear the lobby and their direct messages', async () => {
      await this.settle()
      return this.witnesses.every(
        ({ received, wire }) =>
          wire !== 'chat' || received.filter(({ content }) => content === this.data).length >= 2,
      )
    })
  }

  async token(user: string, claims: Record<string, unknown> = {}): Promise<string> {
    const [gateway] = this.gateways
    if (!gateway) throw new Error('there is no gateway')
    const token = await gateway.token(user, { tenant: this.tenant, claims })
    this.tokens.push(token)
    return token
  }

  /** Connects a client with the client id that all clients have. `user`: absent for a guest. */
  async connect(
    wire: Wire,
    options: { user?: string; at?: number; claims?: Record<string, unknown>; subs?: Json } = {},
  ): Promise<WireClient> {
    const { at = 0, claims = {}, subs, user } = options
    const gateway = this.gateways[at]
    if (!gateway) throw new Error(`there is no gateway ${at}`)
    const client = await WireClient.connect(gateway, wire, {
      tenant: this.tenant,
      token: user === undefined ? '' : await this.token(user, claims),
      clientId: names.device,
      ...(subs && { subs }),
    })
    this.#clients.push(client)
    return client
  }

  join(client: WireClient, channel: string): Promise<Json> {
    return client.ask(
      client.wire === 'chat'
        ? { type: 'join_room', room: channel }
        : { subscribe: { channel, recoverable: true, join_leave: true } },
    )
  }

  /** Calls the server API with the key that both tenants have. Returns the result or the error. */
  async api(method: string, fields: object = {}): Promise<Json> {
    const [gateway] = this.gateways
    if (!gateway) throw new Error('there is no gateway')
    const { body } = await callApi(gateway, method, fields, { tenant: this.tenant })
    this.#answers.push(body)
    return (body['result'] ?? body) as Json
  }

  /** Calls a method that asks all gateways, as soon as the tenant may do so again. */
  async ask(method: 'channels' | 'info'): Promise<Json> {
    let answer: Json = {}
    await until(`an answer to ${method}`, async () => {
      answer = await this.api(method)
      return answer['error'] === undefined
    })
    return answer
  }

  /** Resolves when all witnesses have heard a message that was published last. */
  async settle(): Promise<void> {
    this.#barriers += 1
    const data = `${mark}barrier-${this.#barriers}-of-${this.tenant}`
    await this.api('publish', { channel: names.live, data })
    await Promise.all(this.witnesses.map((client) => client.hear(data)))
  }

  /** Resolves when all witnesses have heard the text. */
  async hear(text: string): Promise<void> {
    await Promise.all(this.witnesses.map((client) => client.hear(text)))
  }

  /** Returns how many messages each witness has got, barriers not included. */
  get heard(): readonly number[] {
    return this.witnesses.map(
      ({ received }) => received.filter((message) => !JSON.stringify(message).includes('barrier')).length,
    )
  }

  /** Everything that a backend of the tenant can read, and what its gateways count. */
  async state(): Promise<Json> {
    const { actor, live, other, room, witness } = names
    const channels = ['lobby', live, other, room, `dm:${actor}`, `dm:${witness}`]
    const read = (method: string, fields: object): Promise<Json[]> =>
      Promise.all(channels.map((channel) => this.api(method, { channel, ...fields })))
    return {
      history: await read('history', { limit: -1 }),
      presence: await read('presence', {}),
      presenceStats: await read('presence_stats', {}),
      // The methods "channels" and "info" ask all gateways, which a tenant may not do that often.
      counts: this.gateways.map(({ gateway }) => {
        const tenant = gateway.tenant(this.tenant)
        return {
          sessions: tenant?.sessions.size,
          users: tenant?.quota.users,
          subscriptions: tenant?.quota.counters.subscriptionsTotal,
          channels: Object.fromEntries(tenant?.channels.subscribedChannels() ?? []),
        }
      }),
      revocations: await this.api('revocations'),
    }
  }

  /** All that clients and backends of the tenant have received, as one text. */
  get everything(): string {
    return JSON.stringify([this.#clients.map(({ received }) => received), this.#answers])
  }

  /** Ends all clients but the witnesses, and waits until nothing of them is left. */
  async leaveAll(): Promise<void> {
    for (const client of this.#clients) if (!this.witnesses.includes(client)) client.close()
    await until('the clients that act have left', async () =>
      this.gateways.every(({ gateway }, at) => {
        const staying = this.witnesses.filter((_client, index) => Math.floor(index / wires.length) === at)
        const { pendingLeaves } = gateway.context
        return gateway.tenant(this.tenant)?.sessions.size === staying.length && pendingLeaves.size === 0
      }),
    )
  }

  close(): void {
    for (const client of this.#clients) client.close()
  }
}

export interface TwoTenants {
  readonly a: Side
  readonly b: Side
  readonly gateways: readonly TestGateway[]
  /** The log of all gateways, at the level `trace`. */
  readonly lines: string[]
  stop(): Promise<void>
}

export async function onMemory(): Promise<TwoTenants> {
  const { log, lines, limits } = observed()
  const gateway = await startGateway(policies, { log, limits })
  return startSides([gateway], { lines, close: async () => {} })
}

/** Two gateways that share a Redis, with its ledger and revocations. */
export async function onRedis(): Promise<TwoTenants> {
  const redis = await startRedis()
  const url = `redis://127.0.0.1:${redis.port}`
  const { log, lines, limits } = observed()
  const parts = await Promise.all(
    [0, 1].map(async () => ({
      broker: openTestBroker(url, { log }),
      presence: openTestPresence(url),
      ledger: await startLedger(url, { runs: true }),
      revocations: await openTestRevocations(url),
    })),
  )
  const gateways = await Promise.all(
    parts.map(({ broker, ledger, presence, revocations }) =>
      startGateway(policies, {
        log,
        limits,
        broker: broker.broker,
        presence: presence.presence,
        ledger: ledger.ledger,
        revocations: revocations.store,
        countGateways: async () => 2,
      }),
    ),
  )
  await until('the gateways are ready', () =>
    gateways.every(({ gateway }) => gateway.unreadyReasons().length === 0),
  )
  return startSides(gateways, {
    lines,
    close: async () => {
      for (const part of parts)
        await Promise.all(Object.values(part).map((one: { close(): Promise<void> }) => one.close()))
    },
  })
}

function observed() {
  const lines: string[] = []
  const log = createLog({ level: 'trace', name: 'parley', write: (line) => void lines.push(line) })
  // A ping of the server would change what was sent to a tenant.
  return { lines, log, limits: { heartbeat: { pingIntervalMs: 3_600_000, pongTimeoutMs: 8_000 } } }
}

async function startSides(
  gateways: readonly TestGateway[],
  { close, lines }: { lines: string[]; close(): Promise<void> },
): Promise<TwoTenants> {
  const [a, b] = [new Side('demo/acme', gateways), new Side('demo/globex', gateways)]
  await a.start()
  await b.start()
  return {
    a,
    b,
    gateways,
    lines,
    async stop() {
      a.close()
      b.close()
      // The sessions end before the parts that they need.
      for (const { gateway } of gateways) while (gateway.context.sessions.size > 0) await sleep(10)
      await Promise.all(gateways.map((gateway) => gateway.stop()))
      await close()
    },
  }
}
