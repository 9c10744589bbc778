import { expect, test } from 'vitest'
import { systemClock } from '../../time.js'
import { KubeObjectCache } from '../../kube/object-cache.js'
import { ApiObject } from '../../kube/object.js'
import { conditionMetrics } from './condition-metrics.js'

function tenant(name: string, status?: object): ApiObject {
  const metadata = { name, namespace: 'demo', uid: `uid-${name}`, resourceVersion: '1' }
  return ApiObject.parse({ apiVersion: 'parley.chat/v1alpha1', kind: 'ChatTenant', metadata, status })
}

test('a sample contains the conditions that are True, and no others', () => {
  const cache = new KubeObjectCache({ clock: systemClock, onListenerError: () => {} })
  const condition = (type: string, status: string) => ({ type, status, reason: 'Some', message: '' })
  const conditions = [condition('Ready', 'False'), condition('Accepted', 'True'), condition('New', 'Unknown')]
  cache.put(tenant('reported', { conditions }))
  cache.put(tenant('new'))
  cache.put(tenant('forged', { conditions: 'Ready' }))
  expect([...conditionMetrics(cache)]).toEqual([
    { tenant: 'demo/reported', trueTypes: new Set(['Accepted']) },
    { tenant: 'demo/new', trueTypes: new Set() },
    { tenant: 'demo/forged', trueTypes: new Set() },
  ])
})
