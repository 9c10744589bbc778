import { expect, test } from 'vitest'
import { systemClock } from '../../time.js'
import { CachedObjects } from '../../kube/object-cache.js'
import { ApiObject } from '../../kube/object.js'
import { tenantStandings } from './condition-metrics.js'

function tenant(name: string, status?: object): ApiObject {
  const metadata = { name, namespace: 'demo', uid: `uid-${name}`, resourceVersion: '1' }
  return ApiObject.parse({ apiVersion: 'parley.chat/v1alpha1', kind: 'ChatTenant', metadata, status })
}

test('what is True holds, and nothing else', () => {
  const cache = new CachedObjects({ clock: systemClock, onBug: () => {} })
  const condition = (type: string, status: string) => ({ type, status, reason: 'Some', message: '' })
  const conditions = [condition('Ready', 'False'), condition('Accepted', 'True'), condition('New', 'Unknown')]
  cache.put(tenant('told', { conditions }))
  cache.put(tenant('new'))
  cache.put(tenant('forged', { conditions: 'Ready' }))
  expect([...tenantStandings(cache)]).toEqual([
    { tenant: 'demo/told', holds: new Set(['Accepted']) },
    { tenant: 'demo/new', holds: new Set() },
    { tenant: 'demo/forged', holds: new Set() },
  ])
})
