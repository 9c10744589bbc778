// Asks every Sentinel for the master, all the time, and believes what more than half of them say.
import type { Log } from '../../log.js'
import { describeError, refusalOf } from '../connection.js'
import type { Locator, LocatorOptions } from './locator.js'
import { Survey, type Silent, type SurveyTiming } from './poller.js'
import { formatAddress, type Address, type SentinelTarget } from '../url.js'

const defaultTiming: SurveyTiming = { intervalMs: 250, deadlineMs: 1_000, confirmMs: 500 }

/** Sentinel's own default is 30 s; what is said before the first answer is of no importance. */
const downAfterMs = 1_000

/** What one Sentinel said last. */
type SentinelAnswer =
  | MasterAnswer
  /** It watches no master of this name. */
  | { readonly kind: 'unknownName' }

interface MasterAnswer {
  readonly kind: 'master'
  readonly address: Address
  readonly dataNodes: number
  /** Grows with every failover. */
  readonly configEpoch: number
  /** It sees no trouble with the master. */
  readonly calm: boolean
  /** It is about to replace the master. */
  readonly replacing: boolean
  readonly downAfterMs: number
}

export class SentinelLocator implements Locator {
  readonly #target: SentinelTarget
  readonly #log: Log
  readonly #survey: Survey<SentinelAnswer>
  readonly #listeners = new Set<() => void>()
  readonly #dataNodes: number | undefined
  #dataNodesSeen = 0
  #address: Address | undefined

  constructor(target: SentinelTarget, { dataNodes, log, sentinelTiming }: LocatorOptions) {
    this.#target = target
    this.#log = log
    this.#dataNodes = dataNodes
    const timing = { ...defaultTiming, ...sentinelTiming }
    const { masterName, sentinelLogin, sentinels, tls } = target
    this.#survey = new Survey<SentinelAnswer>(sentinels, {
      login: sentinelLogin,
      tls,
      timing,
      async ask(connection) {
        const question = connection.client.pipeline()
        question
          .call('SENTINEL', 'get-master-addr-by-name', masterName)
          .call('SENTINEL', 'master', masterName)
        return readAnswer(await connection.run(question, { deadlineMs: timing.deadlineMs }))
      },
      onAnswer: () => this.#look(),
    })
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
    const silent = this.#survey.answers.find((answer) => answer.kind === 'silent')
    const why = silent ? ` (${describeError(silent.reason)})` : ''
    return `${telling} of ${sentinels.length} Sentinels tell where the master is${why}`
  }

  get mistake(): string | undefined {
    if (this.#isMajority(this.#count((answer) => answer.kind === 'unknownName'))) {
      return `The Sentinels know no master "${this.#target.masterName}": the URL ends with the name that they monitor`
    }
    const refused = (answer: SentinelAnswer | Silent) =>
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

  get silenceMs(): number {
    const told = this.#masters().map((answer) => answer.downAfterMs)
    return told.length === 0 ? downAfterMs : Math.min(...told)
  }

  /**
   * True when more than half of all Sentinels, asked from now on, name this address and see no trouble with it, none of all that answer is
   * replacing it, and none knows a newer master. All are heard, not only the first half: the one that replaces it is alone in knowing.
   */
  async confirm(address: Address): Promise<boolean> {
    const answers = await this.#survey.afresh()
    return this.#standsBy(
      address,
      answers.filter((answer) => answer.kind === 'master'),
    )
  }

  #standsBy(address: Address, answers: readonly MasterAnswer[]): boolean {
    const name = formatAddress(address)
    const ours = answers.filter((answer) => formatAddress(answer.address) === name)
    const others = answers.filter((answer) => formatAddress(answer.address) !== name)
    const epoch = Math.max(...ours.map(({ configEpoch }) => configEpoch))
    return (
      answers.every(({ replacing }) => !replacing) &&
      others.every(({ configEpoch }) => configEpoch <= epoch) &&
      this.#isMajority(ours.filter(({ calm }) => calm).length)
    )
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#survey.run(signal)
  }

  #look(): void {
    for (const { dataNodes } of this.#masters())
      this.#dataNodesSeen = Math.max(this.#dataNodesSeen, dataNodes)
    const elected = this.#elected()
    if (!elected || (this.#address && formatAddress(elected) === formatAddress(this.#address))) return
    this.#log.info({ master: formatAddress(elected) }, 'the Sentinels name the master')
    this.#address = elected
    for (const listener of [...this.#listeners]) listener()
  }

  #elected(): Address | undefined {
    const votes = new Map<string, number>()
    for (const answer of this.#survey.answers) {
      if (answer.kind !== 'master') continue
      const name = formatAddress(answer.address)
      const count = (votes.get(name) ?? 0) + 1
      if (this.#isMajority(count)) return answer.address
      votes.set(name, count)
    }
    return undefined
  }

  #masters(): MasterAnswer[] {
    return this.#survey.answers.filter((answer) => answer.kind === 'master')
  }

  #count(fits: (answer: SentinelAnswer | Silent) => boolean): number {
    return this.#survey.answers.filter(fits).length
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
  const told = Array.isArray(master) ? master.map(String) : []
  const field = (name: string) => (told.includes(name) ? told[told.indexOf(name) + 1] : undefined)
  const number = (name: string, otherwise: number) => {
    const value = Number(field(name))
    return Number.isInteger(value) ? value : otherwise
  }
  // While the replicas are told of a new master already promoted, the flags are still those of the old one.
  const ofOld =
    told.length > 0 && field('port') !== undefined && (field('ip') !== host || field('port') !== port)
  const flags = ofOld ? [] : (field('flags') ?? '').split(',')
  return {
    kind: 'master',
    address: { host, port: Number(port) },
    dataNodes: 1 + number('num-slaves', 0),
    configEpoch: number('config-epoch', 0),
    calm: !flags.includes('s_down') && !flags.includes('o_down'),
    replacing: flags.includes('failover_in_progress'),
    downAfterMs: number('down-after-milliseconds', downAfterMs),
  }
}
