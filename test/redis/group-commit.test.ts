// Tests of group commit on scripted connections.
import type { ChainableCommander, Redis } from 'ioredis'
import { describe, expect, test, vi } from 'vitest'
import { CommandError } from '../../src/errors.js'
import {
  RedisUnavailableError,
  UnknownOutcomeError,
  type LiveRedis,
  type RedisLink,
} from '../../src/redis/link.js'
import { GroupCommit, type GroupCommitOptions } from '../../src/broker/redis/group-commit.js'
import {
  PendingWrite,
  type AddOptions,
  type AddResult,
  type Generation,
  type NotStored,
  type SharedAppend,
} from '../../src/broker/redis/pending-write.js'
import type { Pipeline } from '../../src/redis/scripts.js'

/** Returns the replies to one pipeline, or the error with which it fails. */
type Respond = (commands: readonly string[]) => unknown[] | Error

class FakeConnection {
  readonly ran: string[][] = []
  readonly discarded: string[] = []
  readonly lost = new AbortController().signal
  confirmed = true
  readonly #respond: Respond

  constructor(respond: Respond) {
    this.#respond = respond
  }

  get client(): Redis {
    const pipeline = () => {
      const commands: string[] = []
      const fake = { commands, call: (...words: unknown[]) => (commands.push(words.join(' ')), fake) }
      return fake
    }
    return { pipeline } as unknown as Redis
  }

  async run(pipeline: ChainableCommander): Promise<unknown[]> {
    const { commands } = pipeline as unknown as { commands: string[] }
    this.ran.push(commands)
    await Promise.resolve()
    const response = this.#respond(commands)
    if (response instanceof Error) throw response
    return response
  }

  async confirmMaster(): Promise<boolean> {
    return this.confirmed
  }

  discard(reason: string): void {
    this.discarded.push(reason)
  }
}

/** A link that returns the first connection that was not discarded. */
class FakeLink implements RedisLink {
  readonly connections: FakeConnection[]
  unavailableReason: string | undefined = 'Redis is unavailable'

  constructor(connections: FakeConnection[]) {
    this.connections = connections
  }

  get current(): LiveRedis | undefined {
    return this.connections.find(({ discarded }) => discarded.length === 0)
  }

  async ready(): Promise<LiveRedis> {
    const { current } = this
    if (!current) throw new RedisUnavailableError('none')
    return current
  }

  onOpen(): void {}
}

interface TestWriteOptions {
  readonly partition?: number
  readonly streamKey?: string
  readonly shared?: SharedAppend
  readonly add?: (pipeline: Pipeline, generation: Generation, options: AddOptions) => void
  readonly read?: (reply: unknown, result: AddResult) => { readonly result: string } | NotStored
}

/** A write that stores one word. */
class TestWrite extends PendingWrite<string> {
  readonly #word: string
  readonly #options: TestWriteOptions

  constructor(word: string, sinceMs: number, options: TestWriteOptions) {
    const { partition = 1, shared, streamKey = 'stream' } = options
    super({ partition, streamKey }, { sinceMs, bytes: word.length, shared })
    this.#word = word
    this.#options = options
  }

  override add(pipeline: Pipeline, generation: Generation, options: AddOptions): void {
    if (this.#options.add) this.#options.add(pipeline, generation, options)
    else pipeline.call('STORE', this.#word)
  }

  override read(reply: unknown, result: AddResult): { readonly result: string } | NotStored {
    if (this.#options.read) return this.#options.read(reply, result)
    if (reply === 'reconnect' || reply === 'fenced' || reply === 'moved') return reply
    if (reply instanceof Error) throw new CommandError('BROKER_UNAVAILABLE', reply.message)
    return { result: `${String(reply)} ${this.#word}` }
  }
}

/** A connection on which Redis stores all writes, and `reached` replicas have them. */
const stores =
  (reached: number): Respond =>
  (commands) =>
    commands.map((command) => (command.startsWith('WAIT') ? reached : 'stored'))

function open(connections: FakeConnection[], overrides: Partial<GroupCommitOptions> = {}) {
  const link = new FakeLink(connections)
  let nowMs = 0
  const rerouted: PendingWrite<unknown>[] = []
  const raised: string[] = []
  let settled = 0
  const worker = new GroupCommit({
    link,
    clock: { epochMs: () => nowMs, monotonicMs: () => nowMs },
    retired: new AbortController().signal,
    report: {
      settled: () => void (settled += 1),
      rerouted: (write) => void rerouted.push(write),
    },
    generations: {
      of: () => ({ number: 0, store: 's' }),
      open: async () => new Set(),
      async raise(_, refused) {
        raised.push(...refused.map(({ streamKey }) => streamKey))
        return new Set()
      },
    },
    waitReplicas: () => 1,
    waitMs: 1_000,
    nowMs: () => 1_764_534_880_000,
    publishBy: 'PUBLISH',
    queueMs: 6_000,
    queueMax: 5,
    groupMax: 3,
    groupBytesMax: 10,
    ...overrides,
  })
  return {
    store: (word: string, options: TestWriteOptions = {}) => {
      const write = new TestWrite(word, nowMs, options)
      worker.send(write)
      return write.done
    },
    link,
    rerouted,
    raised,
    settled: () => settled,
    pass: (ms: number) => void (nowMs += ms),
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof CommandError ? error.code : String(error)),
  )

describe('a group', () => {
  test('holds the writes of one turn, in order, with one WAIT', async () => {
    const live = new FakeConnection(stores(1))
    const { store } = open([live])
    expect(await Promise.all(['a', 'b'].map((word) => store(word)))).toEqual(['stored a', 'stored b'])
    expect(live.ran).toEqual([['STORE a', 'STORE b', 'WAIT 1 1000']])
  })

  test('has one command for similar writes that follow each other in a stream', async () => {
    const live = new FakeConnection(stores(1))
    const { store } = open([live], { queueMax: 10, groupMax: 10, groupBytesMax: 100 })
    const append = (word: string, { size = 9, incarnation = 's', streamKey = 'stream' } = {}) =>
      store(word, {
        streamKey,
        shared: { envelope: Buffer.from(word), size, store: incarnation },
        add: (pipeline, _, { behind }) =>
          void pipeline.call('STORE', word, ...behind.map(({ envelope }) => String(envelope))),
        read: (reply, { index }) => ({ result: `${String(reply)} ${word} ${index}` }),
      })
    const writes = [
      append('a'),
      append('x', { streamKey: 'another' }),
      append('b'),
      store('alone'),
      append('c'),
      append('d'),
      append('shorter', { size: 5 }),
      // The epoch of this write is stale, so it needs the script that determines the epoch.
      append('old', { size: 5, incarnation: 'former' }),
    ]
    expect(await Promise.all(writes)).toEqual([
      'stored a 0',
      'stored x 0',
      'stored b 1',
      'stored alone',
      'stored c 0',
      'stored d 1',
      'stored shorter 0',
      'stored old 0',
    ])
    const commands = ['STORE a b', 'STORE x', 'STORE alone', 'STORE c d', 'STORE shorter', 'STORE old']
    expect(live.ran).toEqual([[...commands, 'WAIT 1 1000']])
  })

  test('is bounded in writes and in bytes', async () => {
    const live = new FakeConnection(stores(1))
    const { store } = open([live])
    const words = ['a', 'bbbbbb', 'cccccc', 'd', 'eeeeeeeeeeeeeee']
    await Promise.all(words.map((word) => store(word)))
    expect(live.ran.map((commands) => commands.length - 1)).toEqual([2, 2, 1])
  })

  test('waits for no replicas when none are required', async () => {
    const live = new FakeConnection(stores(0))
    const { store } = open([live], { waitReplicas: () => 0 })
    await store('a')
    expect(live.ran).toEqual([['STORE a']])
  })
})

describe('a write is not acknowledged', () => {
  test('when too few replicas confirm it', async () => {
    const { store } = open([new FakeConnection(stores(0))])
    expect(await codeOf(store('a'))).toBe('NOT_REPLICATED')
  })

  test('when WAIT itself fails', async () => {
    const live = new FakeConnection((commands) =>
      commands.map((command) => (command.startsWith('WAIT') ? new Error('ERR no') : 'stored')),
    )
    const { store } = open([live])
    expect(await codeOf(store('a'))).toBe('NOT_REPLICATED')
  })

  test('when the connection is lost before the reply; nothing is sent again', async () => {
    const [first, second] = [
      new FakeConnection(() => new UnknownOutcomeError('cut')),
      new FakeConnection(stores(1)),
    ]
    const { store } = open([first, second])
    expect(await codeOf(store('a'))).toBe('NOT_REPLICATED')
    expect(second.ran).toEqual([])
  })

  test('when the Sentinels do not confirm the master; the connection is discarded', async () => {
    const live = new FakeConnection(stores(1))
    live.confirmed = false
    const { store } = open([live])
    expect(await codeOf(store('a'))).toBe('NOT_REPLICATED')
    expect(live.discarded).toHaveLength(1)
  })

  test('when Redis refuses it; the others of the group are acknowledged', async () => {
    const live = new FakeConnection(([, , wait = '']) => ['stored', new Error('OOM'), wait === '' ? 0 : 1])
    const { store } = open([live])
    const [a, b] = [store('a'), store('b')]
    expect(await codeOf(a)).toBe('done')
    expect(await codeOf(b)).toBe('BROKER_UNAVAILABLE')
  })
})

describe('a write is tried again', () => {
  test('in its order, when it was not sent', async () => {
    const first = new FakeConnection(() => {
      first.discard('closed')
      return new RedisUnavailableError('closed')
    })
    const second = new FakeConnection(stores(1))
    const { store } = open([first, second])
    await Promise.all(['a', 'b'].map((word) => store(word)))
    expect(second.ran).toEqual([['STORE a', 'STORE b', 'WAIT 1 1000']])
  })

  test('on another connection, when the node refused it', async () => {
    const first = new FakeConnection((commands) =>
      commands.map((command) => (command.startsWith('WAIT') ? 1 : 'reconnect')),
    )
    const second = new FakeConnection(stores(1))
    const { store } = open([first, second])
    expect(await store('a')).toBe('stored a')
    expect(first.discarded).toHaveLength(1)
  })

  test('at most five times', async () => {
    const connections = Array.from({ length: 9 }, () => new FakeConnection(() => ['reconnect', 1]))
    const { store } = open(connections)
    expect(await codeOf(store('a'))).toBe('BROKER_UNAVAILABLE')
    expect(connections.filter(({ ran }) => ran.length > 0)).toHaveLength(6)
  })
})

describe('a write whose partition has moved', () => {
  const replies =
    (words: Record<string, string>): Respond =>
    (commands) =>
      commands.map((command) => {
        const [, word = ''] = command.split(' ')
        return command.startsWith('WAIT') ? 1 : (words[word] ?? 'stored')
      })

  test('is rerouted in order, with all writes of its partition that wait behind it', async () => {
    const live = new FakeConnection(replies({ b: 'moved' }))
    const { rerouted, store, settled } = open([live], { groupMax: 2 })
    const of = (word: string, partition: number) => store(word, { partition, streamKey: word })
    const [a, b, c, d] = [of('a', 2), of('b', 1), of('c', 1), of('d', 2)]
    for (const unanswered of [b, c]) unanswered.catch(() => {})
    expect(await Promise.all([a, d])).toEqual(['stored a', 'stored d'])
    expect(rerouted.map(({ key }) => key)).toEqual(['b', 'c'])
    expect(live.ran.flat().filter((command) => command.startsWith('STORE'))).not.toContain('STORE c')
    expect(settled()).toBe(2)
  })

  test('is not tried again when a later write of its channel was stored', async () => {
    const { rerouted, store } = open([new FakeConnection(replies({ a: 'moved' }))])
    const codes = await Promise.all(['a', 'b'].map((word) => codeOf(store(word))))
    expect(codes).toEqual(['BROKER_UNAVAILABLE', 'done'])
    expect(rerouted).toEqual([])
  })

  test('is rerouted before it is sent when its generation is opened', async () => {
    const live = new FakeConnection(stores(1))
    const { rerouted, store } = open([live], {
      generations: {
        of: (_, partition) => (partition === 2 ? { number: 0, store: 's' } : undefined),
        open: async (_, partitions) => partitions,
        raise: async () => new Set(),
      },
    })
    store('a').catch(() => {})
    await store('b', { partition: 2 })
    expect(live.ran).toEqual([['STORE b', 'WAIT 1 1000']])
    expect(rerouted).toHaveLength(1)
  })

  test('is rerouted, like every write, when the shard is retired', async () => {
    const retired = new AbortController()
    const { rerouted, store, link } = open([], { retired: retired.signal })
    link.ready = () => new Promise(() => {})
    for (const word of ['a', 'b']) store(word).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    retired.abort()
    await vi.waitFor(() => expect(rerouted).toHaveLength(2))
  })
})

describe('a generation that a stream refuses', () => {
  test('is raised, and the write stored on the same connection', async () => {
    let refusals = 0
    const live = new FakeConnection((commands) =>
      commands.map((command) => (command.startsWith('WAIT') ? 1 : (refusals += 1) > 1 ? 'stored' : 'fenced')),
    )
    const { store, raised } = open([live])
    expect(await store('a')).toBe('stored a')
    expect(raised).toEqual(['stream'])
    expect(live.discarded).toEqual([])
  })

  test('discards the connection when it cannot be raised', async () => {
    const first = new FakeConnection(() => ['fenced', 1])
    const { store } = open([first, new FakeConnection(stores(1))], {
      generations: {
        of: () => ({ number: 0, store: 's' }),
        open: async () => new Set(),
        raise: async () => {
          throw new Error('0 of 1 replicas have the generation')
        },
      },
    })
    expect(await store('a')).toBe('stored a')
    expect(first.discarded).toHaveLength(1)
  })
})

describe('the queue', () => {
  test('refuses writes beyond its bound', async () => {
    const { store } = open([new FakeConnection(stores(1))])
    const codes = Array.from({ length: 6 }, () => codeOf(store('a')))
    expect(await Promise.all(codes)).toEqual([...Array<string>(5).fill('done'), 'BROKER_UNAVAILABLE'])
  })

  test('refuses a write that has waited too long for a connection', async () => {
    const { store, link, pass } = open([])
    link.ready = async () => {
      pass(6_000)
      throw new RedisUnavailableError('none')
    }
    await expect(store('a')).rejects.toThrow('Redis is unavailable')
  })

  test('refuses a write that has waited too long for earlier groups', async () => {
    const { store, pass } = open(
      [
        new FakeConnection((commands) => {
          pass(2_500)
          return stores(0)(commands)
        }),
      ],
      { groupMax: 1 },
    )
    const codes = await Promise.all(['a', 'b', 'c', 'd'].map((word) => codeOf(store(word))))
    expect(codes).toEqual(['NOT_REPLICATED', 'NOT_REPLICATED', 'NOT_REPLICATED', 'BROKER_UNAVAILABLE'])
  })

  test('continues after a bug, which rejects the group', async () => {
    const { store } = open([new FakeConnection(stores(1))], { groupMax: 1 })
    const fail = () => {
      throw new TypeError('a bug')
    }
    const [a, b] = [store('a', { add: fail }), store('b')]
    expect(await codeOf(a)).toBe('TypeError: a bug')
    expect(await b).toBe('stored b')
  })
})
