// Polls every Sentinel for the address of the master and accepts the address that a majority of them reports.
import type { Log } from '../../log.js'
import { describeError, rejectionOf } from '../connection.js'
import { formatAddress, type Address, type SentinelTarget } from '../url.js'
import type { Locator } from './locator.js'
import { Poller, type PollFailure, type PollTiming } from './poller.js'

export interface SentinelLocatorOptions {
  readonly log: Log
  /**
   * The number of data nodes, master and replicas together, as the operator configured it. Default: the
   * highest number that a Sentinel has reported.
   */
  readonly dataNodes?: number | undefined
  readonly timing?: Partial<PollTiming> | undefined
}

const defaultTiming: PollTiming = { intervalMs: 250, deadlineMs: 1_000, confirmMs: 500 }

/**
 * The value until the first answer, in milliseconds; no master is known until then. Sentinel's own default is
 * 30 s.
 */
const defaultDownAfterMs = 1_000

/** The last answer of one Sentinel. */
type SentinelAnswer =
  | MasterAnswer
  /** The Sentinel monitors no master of this name. */
  | { readonly kind: 'unknownName' }

interface MasterAnswer {
  readonly kind: 'master'
  readonly address: Address
  readonly dataNodes: number
  /** The config epoch, which grows with every failover. */
  readonly configEpoch: number
  /** Whether the Sentinel considers the master up. */
  readonly healthy: boolean
  /** Whether the Sentinel is replacing the master. */
  readonly failoverInProgress: boolean
  readonly downAfterMs: number
}

export class SentinelLocator implements Locator {
  readonly #target: SentinelTarget
  readonly #log: Log
  readonly #poller: Poller<SentinelAnswer>
  readonly #listeners = new Set<() => void>()
  readonly #dataNodes: number | undefined
  #dataNodesSeen = 0
  #address: Address | undefined

  constructor(target: SentinelTarget, { dataNodes, log, timing }: SentinelLocatorOptions) {
    this.#target = target
    this.#log = log
    this.#dataNodes = dataNodes
    const pollTiming = { ...defaultTiming, ...timing }
    const { masterName, sentinelLogin, sentinels, tls } = target
    this.#poller = new Poller<SentinelAnswer>(sentinels, {
      login: sentinelLogin,
      tls,
      timing: pollTiming,
      async ask(connection) {
        const pipeline = connection.client.pipeline()
        pipeline
          .call('SENTINEL', 'get-master-addr-by-name', masterName)
          .call('SENTINEL', 'master', masterName)
        return readAnswer(await connection.run(pipeline, { deadlineMs: pollTiming.deadlineMs }))
      },
      onAnswer: () => this.#update(),
    })
  }

  get address(): Address | undefined {
    return this.#address
  }

  get unavailableReason(): string | undefined {
    const { masterName, sentinels } = this.#target
    if (this.#agreedMaster()) return undefined
    if (this.configError !== undefined) return this.configError
    const answering = this.#count((answer) => answer.kind === 'master')
    if (this.#isMajority(answering)) return `the Sentinels do not agree on the master of "${masterName}"`
    const failure = this.#poller.answers.find((answer) => answer.kind === 'failure')
    const why = failure ? ` (${describeError(failure.reason)})` : ''
    return `only ${answering} of ${sentinels.length} Sentinels report the address of the master${why}`
  }

  get configError(): string | undefined {
    if (this.#isMajority(this.#count((answer) => answer.kind === 'unknownName'))) {
      const { masterName } = this.#target
      return `The Sentinels monitor no master named "${masterName}": end the Redis URL with the name that they monitor`
    }
    const rejected = (answer: SentinelAnswer | PollFailure) =>
      answer.kind === 'failure' && rejectionOf(answer.reason) !== undefined
    if (this.#isMajority(this.#count(rejected))) {
      return (
        'The Sentinels reject the user or the password, or require one: ' +
        'set the Sentinel user and password, which are separate from those in the Redis URL'
      )
    }
    return undefined
  }

  /**
   * Uses the highest number of data nodes ever reported, because a replica that is down still counts for the
   * majority. Without replicas the result is 1, because a publish that no replica has must not be
   * acknowledged as replicated. An operator who runs a single master sets `dataNodes: 1`.
   */
  get waitReplicas(): number | undefined {
    if (this.#dataNodes !== undefined) return Math.floor(this.#dataNodes / 2)
    return this.#dataNodesSeen === 0 ? undefined : Math.max(1, Math.floor(this.#dataNodesSeen / 2))
  }

  get failoverAfterMs(): number {
    const reported = this.#masterAnswers().map((answer) => answer.downAfterMs)
    return reported.length === 0 ? defaultDownAfterMs : Math.min(...reported)
  }

  /**
   * Resolves with true when a fresh poll shows that a majority of all Sentinels reports this address and
   * considers it up, that no Sentinel is replacing it, and that none knows a newer master. It waits for all
   * Sentinels, not only for a majority: a Sentinel that begins a failover may be the only one that knows.
   */
  async confirm(address: Address): Promise<boolean> {
    const answers = await this.#poller.freshPoll()
    return this.#isConfirmedBy(
      address,
      answers.filter((answer) => answer.kind === 'master'),
    )
  }

  #isConfirmedBy(address: Address, answers: readonly MasterAnswer[]): boolean {
    const name = formatAddress(address)
    const agreeing = answers.filter((answer) => formatAddress(answer.address) === name)
    const disagreeing = answers.filter((answer) => formatAddress(answer.address) !== name)
    const epoch = Math.max(...agreeing.map(({ configEpoch }) => configEpoch))
    return (
      answers.every(({ failoverInProgress }) => !failoverInProgress) &&
      disagreeing.every(({ configEpoch }) => configEpoch <= epoch) &&
      this.#isMajority(agreeing.filter(({ healthy }) => healthy).length)
    )
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#poller.run(signal)
  }

  #update(): void {
    for (const { dataNodes } of this.#masterAnswers())
      this.#dataNodesSeen = Math.max(this.#dataNodesSeen, dataNodes)
    const master = this.#agreedMaster()
    if (!master || (this.#address && formatAddress(master) === formatAddress(this.#address))) return
    this.#log.info({ master: formatAddress(master) }, 'the Sentinels report the Redis master')
    this.#address = master
    for (const listener of [...this.#listeners]) listener()
  }

  #agreedMaster(): Address | undefined {
    const votes = new Map<string, number>()
    for (const answer of this.#poller.answers) {
      if (answer.kind !== 'master') continue
      const name = formatAddress(answer.address)
      const count = (votes.get(name) ?? 0) + 1
      if (this.#isMajority(count)) return answer.address
      votes.set(name, count)
    }
    return undefined
  }

  #masterAnswers(): MasterAnswer[] {
    return this.#poller.answers.filter((answer) => answer.kind === 'master')
  }

  #count(matches: (answer: SentinelAnswer | PollFailure) => boolean): number {
    return this.#poller.answers.filter(matches).length
  }

  /**
   * Returns whether `count` is a majority of all configured Sentinels, including those that do not answer.
   */
  #isMajority(count: number): boolean {
    return count > this.#target.sentinels.length / 2
  }
}

/** Parses the answer of a Sentinel. Throws error replies such as NOAUTH and NOPERM. */
function readAnswer([address, master]: readonly unknown[]): SentinelAnswer {
  if (address === null) return { kind: 'unknownName' }
  if (address instanceof Error) throw address
  if (!Array.isArray(address)) throw new Error('a Sentinel gave a malformed answer')
  const [host, port] = address.map(String)
  if (host === undefined || !Number.isInteger(Number(port)))
    throw new Error('a Sentinel gave a malformed answer')
  const fields = Array.isArray(master) ? master.map(String) : []
  const field = (name: string) => (fields.includes(name) ? fields[fields.indexOf(name) + 1] : undefined)
  const number = (name: string, otherwise: number) => {
    const value = Number(field(name))
    return Number.isInteger(value) ? value : otherwise
  }
  // After a promotion, while the replicas are being reconfigured, the flags are still those of the old
  // master.
  const describesOldMaster =
    fields.length > 0 && field('port') !== undefined && (field('ip') !== host || field('port') !== port)
  const flags = describesOldMaster ? [] : (field('flags') ?? '').split(',')
  return {
    kind: 'master',
    address: { host, port: Number(port) },
    dataNodes: 1 + number('num-slaves', 0),
    configEpoch: number('config-epoch', 0),
    healthy: !flags.includes('s_down') && !flags.includes('o_down'),
    failoverInProgress: flags.includes('failover_in_progress'),
    downAfterMs: number('down-after-milliseconds', defaultDownAfterMs),
  }
}
