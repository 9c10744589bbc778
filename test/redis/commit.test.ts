// Group commit, with connections that do as they are told.
import type { ChainableCommander, Redis } from 'ioredis'
import { describe, expect, test, vi } from 'vitest'
import { CommandError } from '../../src/errors.js'
import {
  RedisUnavailableError,
  UnknownOutcomeError,
  type LiveRedis,
  type RedisLink,
} from '../../src/redis/link.js'
import { CommitLane, type CommitOptions } from '../../src/broker/redis/group-commit.js'
import { commitOf, type Commit, type CommitEntry } from '../../src/broker/redis/pending-write.js'

/** What a connection does with one pipeline: replies, or a failure. */
type Act = (commands: readonly string[]) => unknown[] | Error

class FakeLive {
  readonly ran: string[][] = []
  readonly discarded: string[] = []
  readonly lost = new AbortController().signal
  stood = true
  readonly #act: Act

  constructor(act: Act) {
    this.#act = act
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
    const acted = this.#act(commands)
    if (acted instanceof Error) throw acted
    return acted
  }

  async stands(): Promise<boolean> {
    return this.stood
  }

  discard(reason: string): void {
    this.discarded.push(reason)
  }
}

/** Hands out the connections one after the other: the next when one was thrown away or has failed. */
class FakeLink implements RedisLink {
  readonly lives: FakeLive[]
  trouble: string | undefined = 'Redis is away'

  constructor(lives: FakeLive[]) {
    this.lives = lives
  }

  get current(): LiveRedis | undefined {
    const live = this.lives.find(({ discarded }) => discarded.length === 0)
    return live
  }

  async ready(): Promise<LiveRedis> {
    const { current } = this
    if (!current) throw new RedisUnavailableError('none')
    return current
  }

  onOpen(): void {}
}

const ok = (word: string): CommitEntry<string> => ({
  partition: 1,
  streamKey: 'stream',
  bytes: word.length,
  add: (pipeline) => void pipeline.call('STORE', word),
  read: (reply) => {
    if (reply === 'refused') return 'again'
    if (reply === 'fenced' || reply === 'elsewhere') return reply
    if (reply instanceof Error) throw new CommandError('BROKER_UNAVAILABLE', reply.message)
    return { done: `${String(reply)} ${word}` }
  },
})

/** All entries are stored, and `reached` replicas have them. */
const stores =
  (reached: number): Act =>
  (commands) =>
    commands.map((command) => (command.startsWith('WAIT') ? reached : 'stored'))

function lane(lives: FakeLive[], overrides: Partial<CommitOptions> = {}) {
  const link = new FakeLink(lives)
  let nowMs = 0
  const back: Commit[] = []
  const raised: string[] = []
  let settled = 0
  const made = new CommitLane({
    link,
    clock: { epochMs: () => nowMs, monotonicMs: () => nowMs },
    retired: new AbortController().signal,
    report: {
      settled: () => void (settled += 1),
      elsewhere: (commit) => void back.push(commit),
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
    announceBy: 'PUBLISH',
    queueMs: 6_000,
    queueMax: 5,
    groupMax: 3,
    groupBytesMax: 10,
    ...overrides,
  })
  return {
    lane: {
      submit: (entry: CommitEntry<string>) =>
        new Promise<string>((resolve, reject) => {
          made.send(commitOf(entry, { sinceMs: nowMs, resolve, reject }))
        }),
    },
    link,
    back,
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
  test('is what comes in one turn, in order, with one WAIT', async () => {
    const live = new FakeLive(stores(1))
    const { lane: one } = lane([live])
    expect(await Promise.all(['a', 'b'].map((word) => one.submit(ok(word))))).toEqual([
      'stored a',
      'stored b',
    ])
    expect(live.ran).toEqual([['STORE a', 'STORE b', 'WAIT 1 1000']])
  })

  test('has one command for those that follow each other in a stream and are alike', async () => {
    const live = new FakeLive(stores(1))
    const { lane: one } = lane([live], { queueMax: 10, groupMax: 10, groupBytesMax: 100 })
    const part = (word: string, size = 9, store = 's'): CommitEntry<string> => ({
      ...ok(word),
      part: { envelope: Buffer.from(word), size, store },
      add: (pipeline, _, { behind }) =>
        void pipeline.call('STORE', word, ...behind.map(({ envelope }) => String(envelope))),
      read: (reply, { nth }) => ({ done: `${String(reply)} ${word} ${nth}` }),
    })
    const entries = [
      part('a'),
      { ...part('x'), streamKey: 'another' },
      part('b'),
      ok('alone'),
      part('c'),
      part('d'),
      part('shorter', 5),
      // Of the past: it asks again what its stream is.
      part('old', 5, 'former'),
    ]
    expect(await Promise.all(entries.map((entry) => one.submit(entry)))).toEqual([
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

  test('has at most so many, and so many bytes', async () => {
    const live = new FakeLive(stores(1))
    const { lane: one } = lane([live])
    const words = ['a', 'bbbbbb', 'cccccc', 'd', 'eeeeeeeeeeeeeee']
    await Promise.all(words.map((word) => one.submit(ok(word))))
    expect(live.ran.map((commands) => commands.length - 1)).toEqual([2, 2, 1])
  })

  test('waits for nobody where nobody is to be waited for', async () => {
    const live = new FakeLive(stores(0))
    const { lane: one } = lane([live], { waitReplicas: () => 0 })
    await one.submit(ok('a'))
    expect(live.ran).toEqual([['STORE a']])
  })
})

describe('no acknowledgement', () => {
  test('with too few replicas', async () => {
    const { lane: one } = lane([new FakeLive(stores(0))])
    expect(await codeOf(one.submit(ok('a')))).toBe('NOT_REPLICATED')
  })

  test('when WAIT itself fails', async () => {
    const live = new FakeLive((commands) =>
      commands.map((command) => (command.startsWith('WAIT') ? new Error('ERR no') : 'stored')),
    )
    const { lane: one } = lane([live])
    expect(await codeOf(one.submit(ok('a')))).toBe('NOT_REPLICATED')
  })

  test('when the connection is lost before the reply, and nothing is sent again', async () => {
    const [first, second] = [new FakeLive(() => new UnknownOutcomeError('cut')), new FakeLive(stores(1))]
    const { lane: one } = lane([first, second])
    expect(await codeOf(one.submit(ok('a')))).toBe('NOT_REPLICATED')
    expect(second.ran).toEqual([])
  })

  test('from a master that nobody stands by; its connection is thrown away', async () => {
    const live = new FakeLive(stores(1))
    live.stood = false
    const { lane: one } = lane([live])
    expect(await codeOf(one.submit(ok('a')))).toBe('NOT_REPLICATED')
    expect(live.discarded).toHaveLength(1)
  })

  test('for one that is refused; the others of the group have theirs', async () => {
    const live = new FakeLive(([, , wait = '']) => ['stored', new Error('OOM'), wait === '' ? 0 : 1])
    const { lane: one } = lane([live])
    const [a, b] = [one.submit(ok('a')), one.submit(ok('b'))]
    expect(await codeOf(a)).toBe('done')
    expect(await codeOf(b)).toBe('BROKER_UNAVAILABLE')
  })
})

describe('another try', () => {
  test('for what was not sent, in its order', async () => {
    const first = new FakeLive(() => {
      first.discard('closed')
      return new RedisUnavailableError('closed')
    })
    const second = new FakeLive(stores(1))
    const { lane: one } = lane([first, second])
    await Promise.all(['a', 'b'].map((word) => one.submit(ok(word))))
    expect(second.ran).toEqual([['STORE a', 'STORE b', 'WAIT 1 1000']])
  })

  test('for what was refused, on another connection', async () => {
    const first = new FakeLive((commands) =>
      commands.map((command) => (command.startsWith('WAIT') ? 1 : 'refused')),
    )
    const second = new FakeLive(stores(1))
    const { lane: one } = lane([first, second])
    expect(await one.submit(ok('a'))).toBe('stored a')
    expect(first.discarded).toHaveLength(1)
  })

  test('not for ever', async () => {
    const lives = Array.from({ length: 9 }, () => new FakeLive(() => ['refused', 1]))
    const { lane: one } = lane(lives)
    expect(await codeOf(one.submit(ok('a')))).toBe('BROKER_UNAVAILABLE')
    expect(lives.filter(({ ran }) => ran.length > 0)).toHaveLength(6)
  })
})

describe('what lies elsewhere', () => {
  const replies =
    (words: Record<string, string>): Act =>
    (commands) =>
      commands.map((command) => {
        const [, word = ''] = command.split(' ')
        return command.startsWith('WAIT') ? 1 : (words[word] ?? 'stored')
      })

  test('is given back in order, with all of its partition that waits behind it', async () => {
    const live = new FakeLive(replies({ b: 'elsewhere' }))
    const { back, lane: one, settled } = lane([live], { groupMax: 2 })
    const of = (word: string, partition: number) => one.submit({ ...ok(word), partition, streamKey: word })
    const [a, b, c, d] = [of('a', 2), of('b', 1), of('c', 1), of('d', 2)]
    for (const never of [b, c]) never.catch(() => {})
    expect(await Promise.all([a, d])).toEqual(['stored a', 'stored d'])
    expect(back.map(({ key }) => key)).toEqual(['b', 'c'])
    expect(live.ran.flat().filter((command) => command.startsWith('STORE'))).not.toContain('STORE c')
    expect(settled()).toBe(2)
  })

  test('is not tried again when a later one of its channel was stored', async () => {
    const { back, lane: one } = lane([new FakeLive(replies({ a: 'elsewhere' }))])
    const codes = await Promise.all(['a', 'b'].map((word) => codeOf(one.submit(ok(word)))))
    expect(codes).toEqual(['BROKER_UNAVAILABLE', 'done'])
    expect(back).toEqual([])
  })

  test('is found out before it is sent, too', async () => {
    const live = new FakeLive(stores(1))
    const { back, lane: one } = lane([live], {
      generations: {
        of: (_, partition) => (partition === 2 ? { number: 0, store: 's' } : undefined),
        open: async (_, partitions) => partitions,
        raise: async () => new Set(),
      },
    })
    one.submit(ok('a')).catch(() => {})
    await one.submit({ ...ok('b'), partition: 2 })
    expect(live.ran).toEqual([['STORE b', 'WAIT 1 1000']])
    expect(back).toHaveLength(1)
  })

  test('is all that waits for a shard that is retired', async () => {
    const retired = new AbortController()
    const { back, lane: one, link } = lane([], { retired: retired.signal })
    link.ready = () => new Promise(() => {})
    for (const word of ['a', 'b']) one.submit(ok(word)).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    retired.abort()
    await vi.waitFor(() => expect(back).toHaveLength(2))
  })
})

describe('a generation that a stream refuses', () => {
  test('is raised, and the entry stored on the same connection', async () => {
    let refusals = 0
    const live = new FakeLive((commands) =>
      commands.map((command) => (command.startsWith('WAIT') ? 1 : (refusals += 1) > 1 ? 'stored' : 'fenced')),
    )
    const { lane: one, raised } = lane([live])
    expect(await one.submit(ok('a'))).toBe('stored a')
    expect(raised).toEqual(['stream'])
    expect(live.discarded).toEqual([])
  })

  test('that cannot be raised costs the connection', async () => {
    const first = new FakeLive(() => ['fenced', 1])
    const { lane: one } = lane([first, new FakeLive(stores(1))], {
      generations: {
        of: () => ({ number: 0, store: 's' }),
        open: async () => new Set(),
        raise: async () => {
          throw new Error('0 of 1 replicas have the generation')
        },
      },
    })
    expect(await one.submit(ok('a'))).toBe('stored a')
    expect(first.discarded).toHaveLength(1)
  })
})

describe('the queue', () => {
  test('is full at its bound', async () => {
    const { lane: one } = lane([new FakeLive(stores(1))])
    const codes = Array.from({ length: 6 }, () => codeOf(one.submit(ok('a'))))
    expect(await Promise.all(codes)).toEqual([...Array<string>(5).fill('done'), 'BROKER_UNAVAILABLE'])
  })

  test('is refused after its time when there is no writer', async () => {
    const { lane: one, link, pass } = lane([])
    link.ready = async () => {
      pass(6_000)
      throw new RedisUnavailableError('none')
    }
    await expect(one.submit(ok('a'))).rejects.toThrow('Redis is away')
  })

  test('is refused after its time when groups before it take too long', async () => {
    const { lane: one, pass } = lane(
      [
        new FakeLive((commands) => {
          pass(2_500)
          return stores(0)(commands)
        }),
      ],
      { groupMax: 1 },
    )
    const codes = await Promise.all(['a', 'b', 'c', 'd'].map((word) => codeOf(one.submit(ok(word)))))
    expect(codes).toEqual(['NOT_REPLICATED', 'NOT_REPLICATED', 'NOT_REPLICATED', 'BROKER_UNAVAILABLE'])
  })

  test('goes on after a fault of ours, which its group is told', async () => {
    const { lane: one } = lane([new FakeLive(stores(1))], { groupMax: 1 })
    const bad = {
      ...ok('a'),
      add: () => {
        throw new TypeError('a fault')
      },
    }
    const [a, b] = [one.submit(bad), one.submit(ok('b'))]
    expect(await codeOf(a)).toBe('TypeError: a fault')
    expect(await b).toBe('stored b')
  })
})
