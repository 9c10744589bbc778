// A fuzzing campaign: the kept inputs, then mutated ones, one after the other. After each batch the gateway
// is checked; the input that broke it is searched, reduced and written to a file.
import { mkdir, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Program } from '../support/child-process.js'
import { endRevocations, runAsHttp, runAtApi } from './http-targets.js'
import { readCorpus, toText, type FuzzInput } from './input.js'
import { mutated } from './mutations.js'
import { Random } from '../support/random.js'
import { reduced } from './reduce.js'
import { FuzzRig } from './rig.js'
import { runAtEndpoint } from './websocket-targets.js'
import { Witness } from './witness.js'

export interface CampaignOptions {
  readonly seed: number
  /** Stops after this many mutated inputs, or after this time in milliseconds. */
  readonly inputs: number
  readonly durationMs: number
  /** Only inputs whose target begins with this text. */
  readonly only: string
}

/** The gateway that gets the inputs, and the clients of the other tenant. */
export interface Processes {
  readonly rig: Pick<FuzzRig, 'health' | 'end'> & {
    readonly gateway: { readonly port: number; readonly program: Pick<Program, 'ended' | 'output'> }
  }
  readonly witness: Pick<Witness, 'problem' | 'received' | 'end'>
}

async function startProcesses(): Promise<Processes> {
  const rig = await FuzzRig.start()
  return { rig, witness: await Witness.start(rig.gateway.port) }
}

const batchSize = 50
const failureFolder = '.test-results/fuzz'
/** The growth that a campaign may leave behind when all its connections are closed. */
const openFilesGrowthMax = 40
const residentGrowthMax = 300 * 1_048_576

export class Campaign {
  readonly #options: CampaignOptions
  readonly #start: () => Promise<Processes>
  #rig: Processes['rig']
  #witness: Processes['witness']
  #bugs = 0
  /** The gateway may close clients with a code of the backend's choice after requests to the API. */
  #anyCodeUntilMs = 0
  ran = 0

  private constructor(
    options: CampaignOptions,
    { rig, witness }: Processes,
    start: () => Promise<Processes>,
  ) {
    this.#options = options
    this.#rig = rig
    this.#witness = witness
    this.#start = start
  }

  static async start(options: CampaignOptions, start = startProcesses): Promise<Campaign> {
    return new Campaign(options, await start(), start)
  }

  get received(): number {
    return this.#witness.received
  }

  /** Runs everything. Resolves with a description of the first failure; undefined when there is none. */
  async run(): Promise<string | undefined> {
    const { durationMs, inputs, only, seed } = this.#options
    const random = new Random(seed)
    const seeds = [...(await readCorpus()).values()].filter(({ target }) => target.startsWith(only))
    const failure = await this.#runAll(seeds)
    if (failure !== undefined) return failure
    const before = await this.#rig.health()
    const endMs = performance.now() + durationMs
    while (this.ran < seeds.length + inputs && performance.now() < endMs) {
      const batch = Array.from({ length: batchSize }, () => mutated(seeds, random))
      const problem = await this.#runAll(batch)
      if (problem !== undefined) return problem
    }
    // Work that began in the last round may end in a bug after its check.
    return (await this.#witness.end()) ?? (await this.#growth(before)) ?? this.#newBugs()
  }

  /** Runs one input and checks the gateway at once. */
  async runOne(input: FuzzInput): Promise<string | undefined> {
    return (await this.#runInput(input)) ?? this.#check()
  }

  async end(): Promise<void> {
    await this.#rig.end()
  }

  async #runAll(batch: readonly FuzzInput[]): Promise<string | undefined> {
    for (const input of batch) {
      const problem = await this.#runInput(input)
      this.ran += 1
      if (problem !== undefined) return this.#report(input, problem)
    }
    const problem = await this.#check()
    if (problem === undefined) return undefined
    for (const input of batch) {
      const again = await this.#tryAgain(input)
      if (again !== undefined) return this.#report(input, again)
    }
    return `${problem}. None of the last ${batch.length} inputs causes it alone`
  }

  async #runInput(input: FuzzInput): Promise<string | undefined> {
    const { port, program } = this.#rig.gateway
    const ended = program.ended.then(({ code, signal }) => `the gateway ended with ${code ?? signal}`)
    try {
      return await Promise.race([ended, this.#send(input, port)])
    } catch (error) {
      // A gateway that has crashed refuses connections before its end is noticed.
      const crash = await Promise.race([ended, sleep(1_000, undefined)])
      return crash ?? describe(error)
    }
  }

  async #send(input: FuzzInput, port: number): Promise<string | undefined> {
    switch (input.target) {
      case 'http':
        return runAsHttp(input, { port })
      case 'api': {
        this.#anyCodeUntilMs = performance.now() + 2_000
        const problem = await runAtApi(input, { port })
        if (Buffer.concat(input.parts).includes('revoke')) await endRevocations({ port })
        return problem
      }
      default:
        return runAtEndpoint(input, { port, anyCode: performance.now() < this.#anyCodeUntilMs })
    }
  }

  async #check(): Promise<string | undefined> {
    return this.#witness.problem ?? this.#newBugs()
  }

  /** Returns a sentence about the bugs that the gateway has counted since the last call. */
  async #newBugs(): Promise<string | undefined> {
    const { bugs } = await this.#rig.health()
    const more = bugs - this.#bugs
    this.#bugs = bugs
    return more > 0 ? `the gateway counted ${more} bugs` : undefined
  }

  /** Runs an input on a gateway that has had no other, unless the present one is well. */
  async #tryAgain(input: FuzzInput): Promise<string | undefined> {
    if (this.#witness.problem !== undefined) {
      await this.#rig.end()
      const { rig, witness } = await this.#start()
      this.#rig = rig
      this.#witness = witness
      this.#bugs = 0
    }
    return this.runOne(input)
  }

  async #report(input: FuzzInput, problem: string): Promise<string> {
    // The bugs of this round belong to this report. Otherwise the first smaller input would seem to cause
    // them. A gateway that has crashed has no answer.
    const bugs = await this.#newBugs().catch(() => undefined)
    const stillFails = async (smaller: FuzzInput) => (await this.#tryAgain(smaller)) !== undefined
    const smallest = await reduced(input, stillFails)
    await mkdir(failureFolder, { recursive: true })
    const file = `${failureFolder}/${smallest.target}-${this.#options.seed}-${this.ran}.json`
    await writeFile(file, toText(smallest))
    return [
      `${problem}.`,
      ...(bugs === undefined ? [] : [`In the same round ${bugs}.`]),
      `Seed ${this.#options.seed}, input ${this.ran} (${input.target}).`,
      `The smallest input that was found is in ${file}; run it again with: npm run fuzz -- --replay ${file}`,
      this.#rig.gateway.program.output.slice(-4_000),
    ].join('\n')
  }

  async #growth(before: { openFiles: number; residentBytes: number }): Promise<string | undefined> {
    const endMs = performance.now() + 45_000
    let after = await this.#rig.health()
    while (after.openFiles > before.openFiles + openFilesGrowthMax && performance.now() < endMs) {
      await sleep(500)
      after = await this.#rig.health()
    }
    if (after.openFiles > before.openFiles + openFilesGrowthMax)
      return `the gateway holds ${after.openFiles} files after ${this.ran} inputs, and held ${before.openFiles}`
    const grown = after.residentBytes - before.residentBytes
    return grown > residentGrowthMax ? `the memory of the gateway grew by ${grown} bytes` : undefined
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
