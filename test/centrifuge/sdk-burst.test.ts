// Under load: order, completeness, and no duplicates.
import { expect, test } from 'vitest'
import { connectedAs, dataOf, gatewayFor, next, subscribed } from '../support/centrifuge-sdk.js'
import { within } from '../support/waiting.js'

interface Numbered {
  readonly by: number
  readonly n: number
}

test('5,000 publications of five publishers: every subscriber receives each once, in the same order', async () => {
  const publishers = 5
  const each = 1000
  const gateway = await gatewayFor()
  const subscribers = await Promise.all(['ann', 'bob', 'carol'].map((user) => connectedAs(gateway, user)))
  const received = await Promise.all(
    subscribers.map(async (client) => {
      const general = await subscribed(client, 'general')
      const got: (Numbered & { offset: number })[] = []
      const all = new Promise<typeof got>((resolve) => {
        general.on('publication', ({ data, offset = 0 }) => {
          got.push({ ...(data as Numbered), offset })
          if (got.length >= publishers * each) resolve(got)
        })
      })
      return { got, all }
    }),
  )
  const clients = await Promise.all(
    Array.from({ length: publishers }, (_, by) => connectedAs(gateway, `publisher-${by}`)),
  )
  await Promise.all(
    clients.map(async (client, by) => {
      // A hundred in flight at a time: how many the SDK allows is not tested here.
      for (let from = 0; from < each; from += 100)
        await Promise.all(
          Array.from({ length: 100 }, (_, index) => client.publish('general', { by, n: from + index })),
        )
    }),
  )
  const [first, ...others] = await within('receiving', Promise.all(received.map(({ all }) => all)), 25_000)
  expect(first?.map(({ offset }) => offset)).toEqual(
    Array.from({ length: publishers * each }, (_, index) => index + 1),
  )
  for (let by = 0; by < publishers; by += 1) {
    const ofOne = first?.filter((item) => item.by === by).map(({ n }) => n)
    expect(ofOne).toEqual(Array.from({ length: each }, (_, n) => n))
  }
  for (const other of others) expect(other).toEqual(first)
})

test('rapid subscribes and unsubscribes end in the state of the last one', async () => {
  const gateway = await gatewayFor()
  const [ann, bob] = await Promise.all([connectedAs(gateway, 'ann'), connectedAs(gateway, 'bob')])
  const general = ann.newSubscription('general', { recoverable: true, joinLeave: true })
  const atAnn = dataOf(general)
  for (let round = 0; round < 100; round += 1) {
    general.subscribe()
    general.unsubscribe()
  }
  general.subscribe()
  await within('subscribing', general.ready())
  await bob.publish('general', 'x')
  expect(await atAnn.next()).toBe('x')
  expect(await ann.presenceStats('general')).toEqual({ numClients: 1, numUsers: 1 })

  const unsubscribed = next(general, 'unsubscribed')
  general.subscribe()
  general.unsubscribe()
  await unsubscribed
  expect(await ann.presenceStats('general')).toEqual({ numClients: 0, numUsers: 0 })
  expect(ann.state).toBe('connected')
})
