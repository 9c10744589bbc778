// The Redis URL and the credentials of the pods, and the embedded Redis.
import { describe, expect, test } from 'vitest'
import { SealingKeys } from '../../src/catalog/redis/sealing.js'
import { find, flag, kinds, render, type Tree } from './rendering.js'

const password = (secret: string, key: string) => ({ valueFrom: { secretKeyRef: { name: secret, key } } })

async function podsOf(values: Tree): Promise<{ objects: Tree[]; containers: Tree[]; specs: Tree[] }> {
  const objects = await render(values)
  const specs = ['-gateway', '-controller'].map(
    (name) => find(objects, 'Deployment', name).spec.template.spec,
  )
  return { objects, specs, containers: specs.map(({ containers: [container] }) => container) }
}

describe('an external Redis', () => {
  test('can have Sentinels, users, passwords and TLS', async () => {
    const { containers, specs, objects } = await podsOf({
      redis: {
        mode: 'sentinel',
        addresses: ['s-0', 's-1:26380'],
        masterName: 'main',
        username: 'parley',
        sentinelUsername: 'watcher',
        existingSecret: 'login',
        passwordKey: 'redis',
        sentinelPasswordKey: 'sentinel',
        dataNodes: 5,
        tls: {
          enabled: true,
          ca: { configMapName: 'authority', key: 'ca.pem' },
          clientCertificate: { secretName: 'client' },
        },
      },
    })
    for (const container of containers) {
      expect(flag(container, 'redis')).toBe('rediss+sentinel://s-0,s-1:26380/main')
      expect(flag(container, 'data-nodes')).toBe('5')
      expect(container.env).toEqual([
        { name: 'PARLEY_REDIS_USERNAME', value: 'parley' },
        { name: 'PARLEY_REDIS_PASSWORD', ...password('login', 'redis') },
        { name: 'PARLEY_REDIS_SENTINEL_USERNAME', value: 'watcher' },
        { name: 'PARLEY_REDIS_SENTINEL_PASSWORD', ...password('login', 'sentinel') },
      ])
      expect(flag(container, 'redis-ca-file')).toBe('/etc/parley/redis-ca/ca.pem')
      expect(flag(container, 'redis-cert-file')).toBe('/etc/parley/redis-certificate/tls.crt')
      expect(flag(container, 'redis-key-file')).toBe('/etc/parley/redis-certificate/tls.key')
      for (const name of ['redis-ca', 'redis-certificate'])
        expect(container.volumeMounts).toContainEqual({
          name,
          mountPath: `/etc/parley/${name}`,
          readOnly: true,
        })
    }
    for (const { volumes } of specs) {
      expect(volumes).toContainEqual({ name: 'redis-ca', configMap: { name: 'authority' } })
      expect(volumes).toContainEqual({ name: 'redis-certificate', secret: { secretName: 'client' } })
    }
    expect(kinds(objects).filter((name) => name.endsWith('-redis'))).toEqual([])
    const ports = find(objects, 'NetworkPolicy', '-gateway').spec.egress[1].ports
    expect(ports.map(({ port }: Tree) => port)).toEqual([6379, 26_379, 26_380])
  })

  test('can be a Cluster', async () => {
    const { containers } = await podsOf({ redis: { mode: 'cluster', addresses: ['a:7000', 'b:7000'] } })
    for (const container of containers) {
      expect(flag(container, 'redis')).toBe('redis+cluster://a:7000,b:7000')
      expect(container).not.toHaveProperty('env')
    }
  })

  test('can be a standalone server with a database number', async () => {
    const { containers } = await podsOf({ redis: { mode: 'standalone', addresses: ['a'], database: 4 } })
    for (const container of containers) expect(flag(container, 'redis')).toBe('redis://a/4')
  })
})

describe('the embedded Redis', () => {
  test('has a URL with the host names of all three Sentinels', async () => {
    const { containers, objects } = await podsOf({ clusterDomain: 'k8s.example' })
    const { metadata, spec } = find(objects, 'StatefulSet')
    const hosts = [0, 1, 2].map((n) => `${metadata.name}-${n}.${spec.serviceName}.chat.svc.k8s.example`)
    expect(spec.replicas).toBe(hosts.length)
    for (const container of containers) {
      const sentinels = hosts.map((host) => `${host}:26379`).join(',')
      expect(flag(container, 'redis')).toBe(`redis+sentinel://${sentinels}/parley`)
    }
    for (const { env } of spec.template.spec.containers) {
      expect(env).toContainEqual({ name: 'NODES', value: hosts.join(' ') })
      expect(env).toContainEqual({ name: 'DOMAIN', value: hosts[0]?.replace(/^[^.]*\./, '') })
    }
    const service = find(objects, 'Service', spec.serviceName).spec
    expect(service).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true })
    expect(spec.podManagementPolicy).toBe('Parallel')
  })

  test('refuses writes without a replica, and persists data', async () => {
    const { data } = find((await podsOf({})).objects, 'ConfigMap')
    expect(data['redis.conf'].split('\n')).toEqual(
      expect.arrayContaining(['min-replicas-to-write 1', 'min-replicas-max-lag 5', 'appendonly yes']),
    )
    expect(data['sentinel.sh']).toContain('sentinel monitor parley $MASTER $REDIS_PORT 2')
    expect(data['sentinel.conf'].split('\n')).toEqual(
      expect.arrayContaining(['sentinel resolve-hostnames yes', 'sentinel announce-hostnames yes']),
    )
    expect(data['master.conf'].split('\n')).toContain('down-after-milliseconds parley 2000')
  })

  test.each([
    [{}, 644_245_094],
    [{ resources: { limits: { memory: '1.5Gi' } } }, 966_367_641],
    [{ resources: { limits: { memory: '800M' } }, maxMemoryPercent: 50 }, 400_000_000],
    [{ resources: { limits: { memory: null }, requests: { memory: '512Mi' } } }, 322_122_547],
    [{ maxMemoryPercent: 0 }, undefined],
  ])('limits the data of Redis to a part of its memory: %j', async (embedded, bytes) => {
    const { objects } = await podsOf({ redis: { embedded } })
    const lines = find(objects, 'ConfigMap').data['redis.conf'].split('\n')
    const limits = lines.filter((line: string) => line.startsWith('maxmemory '))
    expect(limits).toEqual(bytes === undefined ? [] : [`maxmemory ${bytes}`])
    expect(lines).toContain('maxmemory-policy noeviction')
  })

  test('appends configuration lines from the values', async () => {
    const { objects } = await podsOf({ redis: { embedded: { config: 'maxmemory 1gb\nhz 20' } } })
    expect(find(objects, 'ConfigMap').data['redis.conf']).toMatch(/\nmaxmemory 1gb\nhz 20\n?$/)
  })

  test('restarts when its configuration changes, but not for a new password or version', async () => {
    const checksum = async (values: Tree) =>
      find(await render(values), 'StatefulSet').spec.template.metadata.annotations['checksum/configuration']
    const first = await checksum({})
    expect(await checksum({ image: { tag: 'next' } })).toBe(first)
    expect(await checksum({ redis: { embedded: { downAfterMs: 3000 } } })).not.toBe(first)
    const { template } = find(await render({}), 'StatefulSet').spec
    expect(Object.keys(template.metadata.labels)).not.toContain('app.kubernetes.io/version')
  })

  test('has volumes, or an emptyDir without persistence', async () => {
    const persistence = { size: '20Gi', storageClassName: 'fast' }
    const { spec } = find(await render({ redis: { embedded: { persistence } } }), 'StatefulSet')
    expect(spec.volumeClaimTemplates[0].spec).toEqual({
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'fast',
      resources: { requests: { storage: '20Gi' } },
    })
    const trial = find(
      await render({ redis: { embedded: { persistence: { enabled: false } } } }),
      'StatefulSet',
    )
    expect(trial.spec).not.toHaveProperty('volumeClaimTemplates')
    expect(trial.spec.template.spec.volumes).toContainEqual({ name: 'data', emptyDir: {} })
  })

  test('allows the eviction of one pod at a time, and prefers or requires different hosts', async () => {
    const objects = await render({})
    expect(find(objects, 'PodDisruptionBudget', '-redis').spec.maxUnavailable).toBe(1)
    const affinityOf = async (antiAffinity: string) =>
      find(await render({ redis: { embedded: { antiAffinity } } }), 'StatefulSet').spec.template.spec.affinity
        .podAntiAffinity
    const [preferred] = (await affinityOf('preferred')).preferredDuringSchedulingIgnoredDuringExecution
    const [required] = (await affinityOf('required')).requiredDuringSchedulingIgnoredDuringExecution
    expect(required).toEqual(preferred.podAffinityTerm)
    expect(required.topologyKey).toBe('kubernetes.io/hostname')
  })

  test('admits connections from this release only', async () => {
    const { ingress } = find(await render({}), 'NetworkPolicy', '-redis').spec
    expect(ingress).toEqual([
      {
        ports: [
          { port: 6379, protocol: 'TCP' },
          { port: 26_379, protocol: 'TCP' },
        ],
        from: [
          {
            podSelector: {
              matchLabels: { 'app.kubernetes.io/name': 'parley', 'app.kubernetes.io/instance': 'parley' },
            },
          },
        ],
      },
    ])
  })
})

describe('secrets', () => {
  test('are created when none is named, are kept on uninstall, and have the format that the program reads', async () => {
    const objects = await render({})
    const sealing = find(objects, 'Secret', '-sealing-key')
    expect(sealing.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' })
    expect(SealingKeys.parse(atob(sealing.data.keys), 'keys').keyId).toBe('k1')
    const redis = find(objects, 'Secret', '-redis')
    expect(redis.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' })
    expect(atob(redis.data.password)).toMatch(/^[A-Za-z0-9]{32}$/)
  })

  test('are not created when existing ones are named', async () => {
    const { objects, containers, specs } = await podsOf({
      sealingKey: { existingSecret: 'seal' },
      redis: { existingSecret: 'login', passwordKey: 'pass' },
    })
    expect(objects.filter(({ kind }) => kind === 'Secret')).toEqual([])
    for (const { env } of containers) {
      expect(env).toEqual([
        { name: 'PARLEY_REDIS_PASSWORD', ...password('login', 'pass') },
        { name: 'PARLEY_REDIS_SENTINEL_PASSWORD', ...password('login', 'pass') },
      ])
    }
    for (const { volumes } of specs) {
      expect(volumes).toEqual([{ name: 'sealing-key', secret: { secretName: 'seal' } }])
    }
    for (const { env } of find(objects, 'StatefulSet').spec.template.spec.containers) {
      expect(env).toContainEqual({ name: 'REDISCLI_AUTH', ...password('login', 'pass') })
    }
  })
})
