// Asks every Sentinel for the master, all the time, and believes what more than half of them say.
import type { Log } from '../log.js'
import { Connection, describeError, refusalOf } from './connection.js'
import { pause } from './deadline.js'
import type { Locator, LocatorOptions } from './locator.js'
import { formatAddress, type Address, type SentinelTarget } from './url.js'

export interface SentinelTiming {
  readonly intervalMs: number
  /** For one answer, and for one connection. */
  readonly deadlineMs: number
}

const defaultTiming: SentinelTiming = { intervalMs: 250, deadlineMs: 1_000 }

/** What one Sentinel said last. */
type SentinelAnswer =
  | { readonly kind: 'master'; readonly address: Address; readonly dataNodes: number }
  /** It watches no master of this name. */
  | { readonly kind: 'unknownName' }
  | { readonly kind: 'silent'; readonly reason: unknown }

export class SentinelLocator implements Locator {
  readonly #target: SentinelTarget
  readonly #log: Log
  readonly #timing: SentinelTiming
  readonly #answers = new Map<Address, SentinelAnswer>()
  readonly #listeners = new Set<() => void>()
  readonly #dataNodes: number | undefined
  #dataNodesSeen = 0
  #address: Address | undefined

  constructor(target: SentinelTarget, { dataNodes, log, sentinelTiming }: LocatorOptions) {
    this.#target = target
    this.#log = log
    this.#timing = { ...defaultTiming, ...sentinelTiming }
    this.#dataNodes = dataNodes
  }

  get address(): Address | undefined {
    return this.#address
  }

  get trouble(): string | undefined {
    const { masterName, sentinels } = this.#target
    if (this.#elected()) return undefined
    if (this.mistake !== undefined) return this.mistake
    const telling = this.#count((answer) => answer.kind === 'master')
    if (this.#isMajority(telling)) return `the Sentinels do not agree who is master of "${masterName}"`
    const silent = [...this.#answers.values()].find((answer) => answer.kind === 'silent')
    const why = silent ? ` (${describeError(silent.reason)})` : ''
    return `${telling} of ${sentinels.length} Sentinels tell where the master is${why}`
  }

  get mistake(): string | undefined {
    if (this.#isMajority(this.#count((answer) => answer.kind === 'unknownName'))) {
      return `The Sentinels know no master "${this.#target.masterName}": the URL ends with the name that they monitor`
    }
    const refused = (answer: SentinelAnswer) =>
      answer.kind === 'silent' && refusalOf(answer.reason) !== undefined
    if (this.#isMajority(this.#count(refused))) {
      return 'The Sentinels refuse the user or the password, or want one: theirs are given apart from the URL'
    }
    return undefined
  }

  /**
   * The most data nodes ever seen: a replica that is away still belongs to the majority. Sentinel without replicas waits for one all the
   * same, since an acknowledgement that nobody else has would be false: a lone master says so by `dataNodes: 1`.
   */
  get waitReplicas(): number | undefined {
    if (this.#dataNodes !== undefined) return Math.floor(this.#dataNodes / 2)
    return this.#dataNodesSeen === 0 ? undefined : Math.max(1, Math.floor(this.#dataNodesSeen / 2))
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#target.sentinels.map((sentinel) => this.#ask(sentinel, signal)))
  }

  /** One question at a time to each: a second one before the answer to the first brought a starved process to a standstill. */
  async #ask(sentinel: Address, signal: AbortSignal): Promise<void> {
    const { masterName, sentinelLogin, tls } = this.#target
    const { deadlineMs, intervalMs } = this.#timing
    while (!signal.aborted) {
      const connection = new Connection({
        address: sentinel,
        login: sentinelLogin,
        tls,
        name: 'parley-locator',
      })
      const stop = () => connection.discard('the locator stops')
      signal.addEventListener('abort', stop)
      try {
        await connection.open(deadlineMs)
        while (!signal.aborted) {
          const question = connection.client.pipeline()
          question
            .call('SENTINEL', 'get-master-addr-by-name', masterName)
            .call('SENTINEL', 'master', masterName)
          this.#take(sentinel, readAnswer(await connection.run(question, { deadlineMs })))
          await pause(intervalMs, signal, connection.lost)
        }
      } catch (reason) {
        this.#take(sentinel, { kind: 'silent', reason })
      } finally {
        signal.removeEventListener('abort', stop)
        connection.discard('the locator is done with it')
      }
      await pause(intervalMs, signal)
    }
  }

  #take(sentinel: Address, answer: SentinelAnswer): void {
    this.#answers.set(sentinel, answer)
    if (answer.kind === 'master') this.#dataNodesSeen = Math.max(this.#dataNodesSeen, answer.dataNodes)
    const elected = this.#elected()
    if (!elected || (this.#address && formatAddress(elected) === formatAddress(this.#address))) return
    this.#log.info({ master: formatAddress(elected) }, 'the Sentinels name the master')
    this.#address = elected
    for (const listener of [...this.#listeners]) listener()
  }

  #elected(): Address | undefined {
    const votes = new Map<string, number>()
    for (const answer of this.#answers.values()) {
      if (answer.kind !== 'master') continue
      const name = formatAddress(answer.address)
      const count = (votes.get(name) ?? 0) + 1
      if (this.#isMajority(count)) return answer.address
      votes.set(name, count)
    }
    return undefined
  }

  #count(fits: (answer: SentinelAnswer) => boolean): number {
    return [...this.#answers.values()].filter(fits).length
  }

  /** Of all that are configured, whether they answer or not. */
  #isMajority(count: number): boolean {
    return count > this.#target.sentinels.length / 2
  }
}

/** Throws the error reply when there is one that does not speak of the name (NOAUTH, NOPERM). */
function readAnswer([where, master]: readonly unknown[]): SentinelAnswer {
  if (where === null) return { kind: 'unknownName' }
  if (where instanceof Error) throw where
  if (!Array.isArray(where)) throw new Error('a Sentinel’s answer makes no sense')
  const [host, port] = where.map(String)
  if (host === undefined || !Number.isInteger(Number(port)))
    throw new Error('a Sentinel’s answer makes no sense')
  const replicas = Array.isArray(master) ? Number(master[master.indexOf('num-slaves') + 1]) : 0
  return {
    kind: 'master',
    address: { host, port: Number(port) },
    dataNodes: 1 + (Number.isInteger(replicas) ? replicas : 0),
  }
}
