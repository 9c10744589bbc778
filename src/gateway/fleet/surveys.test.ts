import { describe, expect, test } from 'vitest'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { TimerWheel } from '../../time.js'
import type { SurveyRequest, SurveyAnswer } from './control-messages.js'
import { Surveys } from './surveys.js'

const acme = { key: 'demo/acme', policy: { tenantId: 't1' } } as TenantRuntime

/** Of the gateway `me`, among `count`. */
function asking(count: number) {
  let nowMs = 0
  const wheel = new TimerWheel({ clock: { epochMs: () => nowMs, monotonicMs: () => nowMs } })
  const sent: SurveyRequest[] = []
  const surveys = new Surveys({
    id: 'me',
    wheel,
    sendRequest: async (survey) => void sent.push(survey),
    sendAnswer: async () => {},
    countGateways: async () => count,
    tenant: () => acme,
    onAnswerFailed: (error) => {
      throw error
    },
  })
  const asked = surveys.collect(acme, 'room:*')
  let done = false
  const settled = asked.finally(() => (done = true))
  return {
    surveys,
    asked: settled,
    isDone: async (): Promise<boolean> => {
      await turn()
      return done
    },
    /** What was sent, once it is. */
    survey: async (): Promise<SurveyRequest> => {
      await turn()
      const [survey] = sent
      if (!survey) throw new Error('nothing was sent')
      return survey
    },
    pass: (ms: number): void => {
      nowMs += ms
      wheel.advance()
    },
  }
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

const answerOf = (survey: string, gateway: string): SurveyAnswer => ({
  survey,
  gateway,
  clients: 1,
  users: 1,
  subscriptions: 0,
  channels: 0,
  uptimeS: 1,
  named: [],
})

test('asks by the tenant’s identity, and says where the answer goes', async () => {
  const { survey } = asking(1)
  expect(await survey()).toMatchObject({
    kind: 'survey',
    tenant: 'demo/acme',
    tenantId: 't1',
    asker: 'me',
    pattern: 'room:*',
  })
})

describe('the question is over', () => {
  test('when as many gateways have answered as live', async () => {
    const { asked, isDone, survey, surveys } = asking(2)
    const { id } = await survey()
    surveys.onAnswer(answerOf(id, 'a'))
    expect(await isDone()).toBe(false)
    surveys.onAnswer(answerOf(id, 'b'))
    expect((await asked).map(({ gateway }) => gateway)).toEqual(['a', 'b'])
  })

  test('after two seconds, with those that have answered', async () => {
    const { asked, isDone, pass, survey, surveys } = asking(2)
    const { id } = await survey()
    surveys.onAnswer(answerOf(id, 'a'))
    pass(1_500)
    expect(await isDone()).toBe(false)
    pass(1_000)
    expect((await asked).map(({ gateway }) => gateway)).toEqual(['a'])
  })
})

test('answers to another question, a second one of a gateway and one that is late count for nothing', async () => {
  const { asked, isDone, survey, surveys } = asking(2)
  const { id } = await survey()
  surveys.onAnswer(answerOf('another', 'b'))
  surveys.onAnswer(answerOf(id, 'a'))
  surveys.onAnswer(answerOf(id, 'a'))
  expect(await isDone()).toBe(false)
  surveys.onAnswer(answerOf(id, 'b'))
  expect(await asked).toHaveLength(2)
  surveys.onAnswer(answerOf(id, 'c'))
})
