// A TCP proxy in front of a Redis node that tells its visitors apart (clients, replicas, Sentinels) and fails each kind as it is told:
// delay, silence in one direction, refusal, a cut, a cut after so many bytes.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export type LinkKind = 'client' | 'replication' | 'sentinel'
const linkKinds: readonly LinkKind[] = ['client', 'replication', 'sentinel']

type Direction = 'toServer' | 'toClient'

export interface LinkRule {
  /** Of what the visitor sends, and of what Redis sends. */
  delayToServerMs: number
  delayToClientMs: number
  /** Silence: lines stay open, nothing passes until the rule is lifted (half-open when one direction is silent). */
  holdToServer: boolean
  holdToClient: boolean
  /** New lines are cut at once. */
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
  readonly #lines = new Set<Line>()
  readonly #rules = new Map<LinkKind, LinkRule>(linkKinds.map((kind) => [kind, openRule]))
  #special: { readonly said: RegExp; readonly rule: Partial<LinkRule> }[] = []
  #targetPort: number
  #port = 0

  constructor(targetPort: number) {
    this.#targetPort = targetPort
    this.#server = createServer((visitor) => this.#accept(visitor))
  }

  /** Port 0 takes a free one. */
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
    return this.#linesOf([kind]).length
  }

  /** Where new lines lead. */
  retarget(port: number): void {
    this.#targetPort = port
  }

  /** For the kinds named (default: clients), present and future. What is not named in `rule` stays. */
  set(rule: Partial<LinkRule>, kinds: readonly LinkKind[] = ['client']): void {
    for (const kind of kinds) this.#rules.set(kind, { ...this.rule(kind), ...rule })
    for (const line of this.#linesOf(kinds)) line.flow()
  }

  rule(kind: LinkKind): LinkRule {
    return this.#rules.get(kind) ?? openRule
  }

  /** For those lines alone, present and future, whose first words match: a client's name, a replica's port. Over what `set` says, until `heal`. */
  setWhere(said: RegExp, rule: Partial<LinkRule>): void {
    this.#special.push({ said, rule })
    for (const line of this.#lines) line.flow()
  }

  /** Nothing more passes, either way, on the present lines whose first words match. Not even `heal` wakes them up. */
  silence(said: RegExp): void {
    for (const line of this.#lines) line.silenceIf(said)
  }

  /** All rules open again. */
  heal(): void {
    this.#special = []
    this.set(openRule, linkKinds)
  }

  /** Breaks the lines at once, without a goodbye. */
  cut(kinds: readonly LinkKind[] = ['client']): void {
    for (const line of this.#linesOf(kinds)) line.destroy()
  }

  /** Each present line of the kind breaks when so many more bytes have passed in the direction: those pass, none after them. */
  cutAfter(bytes: number, direction: Direction, kinds: readonly LinkKind[] = ['client']): void {
    for (const line of this.#linesOf(kinds)) line.limit(direction, bytes)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    for (const line of [...this.#lines]) line.destroy()
    await closed
  }

  #linesOf(kinds: readonly LinkKind[]): Line[] {
    return [...this.#lines].filter(({ kind }) => kind !== undefined && kinds.includes(kind))
  }

  #ruleOf(kind: LinkKind, said: string): LinkRule {
    const special = this.#special.filter((one) => one.said.test(said)).map(({ rule }) => rule)
    return Object.assign({}, this.rule(kind), ...special) as LinkRule
  }

  #accept(visitor: Socket): void {
    const redis = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true })
    visitor.setNoDelay(true)
    const line = new Line(visitor, redis, (kind, said) => this.#ruleOf(kind, said))
    this.#lines.add(line)
    visitor.on('close', () => this.#lines.delete(line))
  }
}

interface Chunk {
  readonly bytes: Buffer
  readonly arrivedMs: number
}

/** Whoever it is has introduced itself by then. */
const saidMax = 1_000

/** One visitor. Bytes wait in order until their kind's rule lets them pass. */
class Line {
  kind: LinkKind | undefined
  readonly #sockets: Record<Direction, Socket>
  readonly #ruleOf: (kind: LinkKind, said: string) => LinkRule
  readonly #queues: Record<Direction, Chunk[]> = { toServer: [], toClient: [] }
  readonly #limits: Record<Direction, number> = { toServer: Infinity, toClient: Infinity }
  #said = ''
  #silent = false
  #timer: NodeJS.Timeout | undefined

  constructor(visitor: Socket, redis: Socket, ruleOf: (kind: LinkKind, said: string) => LinkRule) {
    this.#sockets = { toServer: redis, toClient: visitor }
    this.#ruleOf = ruleOf
    visitor.on('data', (bytes) => this.#take('toServer', bytes))
    redis.on('data', (bytes) => this.#take('toClient', bytes))
    for (const socket of [visitor, redis]) {
      socket.on('error', () => {})
      socket.on('close', () => this.destroy())
    }
  }

  destroy(): void {
    clearTimeout(this.#timer)
    this.#sockets.toServer.destroy()
    this.#sockets.toClient.destroy()
  }

  silenceIf(said: RegExp): void {
    this.#silent ||= said.test(this.#said)
  }

  limit(direction: Direction, bytes: number): void {
    this.#limits[direction] = bytes
  }

  /** Sends what may pass by now, and comes back for the rest. */
  flow(): void {
    clearTimeout(this.#timer)
    if (this.#silent) return
    const rule = this.kind === undefined ? openRule : this.#ruleOf(this.kind, this.#said)
    if (rule.refuse) return this.destroy()
    const dueMs = Math.min(
      rule.holdToServer ? Infinity : this.#pass('toServer', rule.delayToServerMs),
      rule.holdToClient ? Infinity : this.#pass('toClient', rule.delayToClientMs),
    )
    if (dueMs !== Infinity) this.#timer = setTimeout(() => this.flow(), dueMs - performance.now())
  }

  /** When the next chunk is due. */
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

  #take(direction: Direction, bytes: Buffer): void {
    if (direction === 'toServer' && this.#said.length < saidMax) {
      this.#said += bytes.toString('latin1')
      this.kind ??= kindOf(this.#said)
    }
    this.#queues[direction].push({ bytes, arrivedMs: performance.now() })
    this.flow()
  }
}

/** Undefined: it has only knocked so far (PING, AUTH), as replicas and Sentinels do first. */
function kindOf(said: string): LinkKind | undefined {
  if (/\r\n(REPLCONF|PSYNC|SYNC)\r\n/i.test(said)) return 'replication'
  if (/\r\nsentinel-[0-9a-f]+-/i.test(said)) return 'sentinel'
  const commands = [...said.matchAll(/\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n/g)].map(([, name = '']) =>
    name.toUpperCase(),
  )
  return commands.some((name) => name !== 'PING' && name !== 'AUTH') ? 'client' : undefined
}
