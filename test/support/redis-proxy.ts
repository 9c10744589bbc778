// A TCP proxy in front of a Redis node. It distinguishes connections of clients, replicas and Sentinels, and
// injects faults into each kind: a delay, silence in one direction, refusal, a cut, a cut after a number of
// bytes.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export type LinkKind = 'client' | 'replication' | 'sentinel'
const linkKinds: readonly LinkKind[] = ['client', 'replication', 'sentinel']

type Direction = 'toServer' | 'toClient'

export interface LinkRule {
  /** The delay of the bytes from the peer to Redis, in milliseconds. */
  delayToServerMs: number
  /** The delay of the bytes from Redis to the peer, in milliseconds. */
  delayToClientMs: number
  /**
   * Holds all bytes from the peer until the rule ends; the connection stays open. With only one held
   * direction the connection is half-open.
   */
  holdToServer: boolean
  /** Holds all bytes from Redis until the rule ends. */
  holdToClient: boolean
  /** Whether connections are closed immediately. */
  refuse: boolean
}

const openRule: LinkRule = {
  delayToServerMs: 0,
  delayToClientMs: 0,
  holdToServer: false,
  holdToClient: false,
  refuse: false,
}

export class RedisProxy {
  readonly #server: Server
  readonly #connections = new Set<ProxiedConnection>()
  readonly #rules = new Map<LinkKind, LinkRule>(linkKinds.map((kind) => [kind, openRule]))
  #special: { readonly pattern: RegExp; readonly rule: Partial<LinkRule> }[] = []
  #targetPort: number
  #port = 0

  constructor(targetPort: number) {
    this.#targetPort = targetPort
    this.#server = createServer((peer) => this.#accept(peer))
  }

  /** Starts to listen. Port 0 takes a free port. */
  async start(port = 0): Promise<this> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  get port(): number {
    return this.#port
  }

  count(kind: LinkKind): number {
    return this.#connectionsOf([kind]).length
  }

  /**
   * Sets the port that new connections lead to. Cuts those that have not identified themselves: they lead to
   * the old port, and no rule has refused them yet.
   */
  retarget(port: number): void {
    this.#targetPort = port
    for (const connection of this.#connections) if (connection.kind === undefined) connection.destroy()
  }

  /**
   * Sets rules for present and future connections of the kinds (default: clients). Fields missing in `rule`
   * stay unchanged.
   */
  set(rule: Partial<LinkRule>, kinds: readonly LinkKind[] = ['client']): void {
    for (const kind of kinds) this.#rules.set(kind, { ...this.rule(kind), ...rule })
    for (const connection of this.#connectionsOf(kinds)) connection.flow()
  }

  rule(kind: LinkKind): LinkRule {
    return this.#rules.get(kind) ?? openRule
  }

  /**
   * Sets rules for present and future connections whose first bytes match, such as a client's name or a
   * replica's port. They override `set` until `heal`.
   */
  setWhere(pattern: RegExp, rule: Partial<LinkRule>): void {
    this.#special.push({ pattern, rule })
    for (const connection of this.#connections) connection.flow()
  }

  /**
   * Stops all bytes in both directions on present connections whose first bytes match. `heal` does not end
   * this.
   */
  silence(pattern: RegExp): void {
    for (const connection of this.#connections) connection.silenceIf(pattern)
  }

  /** Removes all rules. */
  heal(): void {
    this.#special = []
    this.set(openRule, linkKinds)
  }

  /** Destroys the connections of the kinds (default: clients). */
  cut(kinds: readonly LinkKind[] = ['client']): void {
    for (const connection of this.#connectionsOf(kinds)) connection.destroy()
  }

  /** Destroys each present connection of the kinds after exactly this many more bytes in the direction. */
  cutAfter(bytes: number, direction: Direction, kinds: readonly LinkKind[] = ['client']): void {
    for (const connection of this.#connectionsOf(kinds)) connection.limit(direction, bytes)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    for (const connection of [...this.#connections]) connection.destroy()
    await closed
  }

  #connectionsOf(kinds: readonly LinkKind[]): ProxiedConnection[] {
    return [...this.#connections].filter(({ kind }) => kind !== undefined && kinds.includes(kind))
  }

  #ruleOf(kind: LinkKind, head: string): LinkRule {
    const special = this.#special.filter((one) => one.pattern.test(head)).map(({ rule }) => rule)
    return Object.assign({}, this.rule(kind), ...special) as LinkRule
  }

  #accept(peer: Socket): void {
    const redis = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true })
    peer.setNoDelay(true)
    const connection = new ProxiedConnection(peer, redis, (kind, head) => this.#ruleOf(kind, head))
    this.#connections.add(connection)
    peer.on('close', () => this.#connections.delete(connection))
  }
}

interface Chunk {
  readonly bytes: Buffer
  readonly arrivedMs: number
}

/** Every peer identifies itself within this number of bytes. */
const headBytesMax = 1_000

/** One connection. Its bytes wait in order until the rule of its kind lets them pass. */
class ProxiedConnection {
  kind: LinkKind | undefined
  readonly #sockets: Record<Direction, Socket>
  readonly #ruleOf: (kind: LinkKind, head: string) => LinkRule
  readonly #queues: Record<Direction, Chunk[]> = { toServer: [], toClient: [] }
  readonly #limits: Record<Direction, number> = { toServer: Infinity, toClient: Infinity }
  #head = ''
  #silent = false
  #timer: NodeJS.Timeout | undefined

  constructor(peer: Socket, redis: Socket, ruleOf: (kind: LinkKind, head: string) => LinkRule) {
    this.#sockets = { toServer: redis, toClient: peer }
    this.#ruleOf = ruleOf
    peer.on('data', (bytes) => this.#receive('toServer', bytes))
    redis.on('data', (bytes) => this.#receive('toClient', bytes))
    for (const socket of [peer, redis]) {
      socket.on('error', () => {})
      socket.on('close', () => this.destroy())
    }
  }

  destroy(): void {
    clearTimeout(this.#timer)
    this.#sockets.toServer.destroy()
    this.#sockets.toClient.destroy()
  }

  silenceIf(pattern: RegExp): void {
    this.#silent ||= pattern.test(this.#head)
  }

  limit(direction: Direction, bytes: number): void {
    this.#limits[direction] = bytes
  }

  /** Sends the bytes that may pass now, and schedules the rest. */
  flow(): void {
    clearTimeout(this.#timer)
    if (this.#silent) return
    const rule = this.kind === undefined ? openRule : this.#ruleOf(this.kind, this.#head)
    if (rule.refuse) return this.destroy()
    const dueMs = Math.min(
      rule.holdToServer ? Infinity : this.#pass('toServer', rule.delayToServerMs),
      rule.holdToClient ? Infinity : this.#pass('toClient', rule.delayToClientMs),
    )
    if (dueMs !== Infinity) this.#timer = setTimeout(() => this.flow(), dueMs - performance.now())
  }

  /** Returns when the next chunk is due. */
  #pass(direction: Direction, delayMs: number): number {
    const queue = this.#queues[direction]
    for (let chunk = queue[0]; chunk; chunk = queue[0]) {
      // A timer may fire a fraction of a millisecond early.
      const dueMs = chunk.arrivedMs + delayMs
      if (dueMs > performance.now() + 1) return dueMs
      queue.shift()
      const bytes = chunk.bytes.subarray(0, this.#limits[direction])
      this.#limits[direction] -= bytes.byteLength
      if (this.#limits[direction] > 0) {
        this.#sockets[direction].write(bytes)
        continue
      }
      this.#sockets[direction].write(bytes, () => this.destroy())
      return Infinity
    }
    return Infinity
  }

  #receive(direction: Direction, bytes: Buffer): void {
    if (direction === 'toServer' && this.#head.length < headBytesMax) {
      this.#head += bytes.toString('latin1')
      this.kind ??= kindOf(this.#head)
    }
    this.#queues[direction].push({ bytes, arrivedMs: performance.now() })
    this.flow()
  }
}

/**
 * Returns the kind of a connection by its first bytes. Returns undefined while only PING and AUTH were
 * received, because replicas and Sentinels begin with them.
 */
function kindOf(head: string): LinkKind | undefined {
  if (/\r\n(REPLCONF|PSYNC|SYNC)\r\n/i.test(head)) return 'replication'
  if (/\r\nsentinel-[0-9a-f]+-/i.test(head)) return 'sentinel'
  const commands = [...head.matchAll(/\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n/g)].map(([, name = '']) =>
    name.toUpperCase(),
  )
  return commands.some((name) => name !== 'PING' && name !== 'AUTH') ? 'client' : undefined
}
