// The Deployment of the gateways, and the objects that scale, protect and expose it.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { find, flag, kinds, refusal, render, root, type Tree } from './rendering.js'

async function gatewayOf(values: Tree = {}): Promise<{ objects: Tree[]; deployment: Tree; container: Tree }> {
  const objects = await render(values)
  const deployment = find(objects, 'Deployment', '-gateway')
  return { objects, deployment, container: deployment.spec.template.spec.containers[0] }
}

describe('the arguments', () => {
  test.each(['gateway', 'controller'])('are flags that `parley %s` knows', async (command) => {
    const tls = { enabled: true, ca: { secretName: 'ca' }, clientCertificate: { secretName: 'client' } }
    const objects = await render({
      gateway: {
        tls: { existingSecret: 'certificate' },
        trustedProxies: ['10.0.0.0/8'],
        proxyProtocol: true,
        publicHosts: ['chat.example.com'],
      },
      redis: { mode: 'cluster', addresses: ['a'], dataNodes: 3, tls },
      tenants: { allowPrivateJwks: true },
    })
    const { spec } = find(objects, 'Deployment', `-${command}`)
    const [subcommand, ...flags] = spec.template.spec.containers[0].args
    const program = [join(root, 'dist/cli/main.js'), command, '--help']
    const { stdout } = await promisify(execFile)(process.execPath, program)
    expect(subcommand).toBe(command)
    expect(flags.length).toBeGreaterThan(6)
    for (const argument of flags) expect(stdout).toContain(`${argument.split('=')[0]} `)
  })

  test('carry the values', async () => {
    const { container } = await gatewayOf({
      gateway: {
        maxConnections: 1_000_000,
        handshakeRate: 3_000_000,
        rebalanceWindowSeconds: 0,
        drainWindowSeconds: 90,
        logLevel: 'debug',
      },
    })
    expect(flag(container, 'max-connections')).toBe('1000000')
    expect(flag(container, 'handshake-rate')).toBe('3000000')
    expect(flag(container, 'rebalance-window')).toBe('0')
    expect(flag(container, 'drain-window')).toBe('90')
    expect(flag(container, 'log-level')).toBe('debug')
  })

  test('limit strangers as the values say', async () => {
    const defaults = (await gatewayOf()).container
    expect(flag(defaults, 'address-handshake-rate')).toBe('500')
    expect(flag(defaults, 'request-rate')).toBe('1000')
    expect(flag(defaults, 'address-request-rate')).toBe('100')
    expect(flag(defaults, 'unauthenticated-max')).toBe('10000')
    expect(flag(defaults, 'unauthenticated-per-address')).toBe('1000')
    for (const name of ['trusted-proxies', 'public-hosts']) expect(flag(defaults, name)).toBeUndefined()
    expect(defaults.args).not.toContain('--proxy-protocol')
    const { container } = await gatewayOf({
      gateway: {
        unauthenticated: { max: 2_000_000, perAddress: 3_000_000 },
        trustedProxies: ['10.0.0.0/8', '2001:db8::/32'],
        proxyProtocol: true,
      },
    })
    expect(flag(container, 'unauthenticated-max')).toBe('2000000')
    expect(flag(container, 'unauthenticated-per-address')).toBe('3000000')
    expect(flag(container, 'trusted-proxies')).toBe('10.0.0.0/8,2001:db8::/32')
    expect(container.args).toContain('--proxy-protocol')
    expect(await refusal({ gateway: { proxyProtocol: true } })).toContain('needs gateway.trustedProxies')
    expect(await refusal({ gateway: { trustedProxies: ['proxy.example.com'] } })).toContain('trustedProxies')
  })

  test('name the hosts of pages that may connect guests', async () => {
    const hosts = async (values: Tree) => flag((await gatewayOf(values)).container, 'public-hosts')
    expect(await hosts({ ingress: { enabled: true, hosts: ['chat.example.com', '*.example.org'] } })).toBe(
      'chat.example.com,*.example.org',
    )
    expect(
      await hosts({
        httpRoute: { enabled: true, hostnames: ['chat.example.com'], parentRefs: [{ name: 'web' }] },
      }),
    ).toBe('chat.example.com')
    const both = {
      gateway: { publicHosts: ['b.example.com'] },
      controller: { publicUrl: 'wss://a.example.com:8443' },
    }
    expect(await hosts(both)).toBe('b.example.com,a.example.com')
    expect(await hosts({ controller: { publicUrl: 'wss://[2001:db8::1]' } })).toBeUndefined()
    expect(await refusal({ gateway: { publicHosts: ['https://a.example.com'] } })).toContain('publicHosts')
  })

  test('name the installation after namespace and release, or as the values say', async () => {
    expect(flag((await gatewayOf()).container, 'installation')).toBe('chat/parley')
    const { container } = await gatewayOf({ installation: 'europe/chat' })
    expect(flag(container, 'installation')).toBe('europe/chat')
  })

  test('name the sealing key, and the manifests without a controller', async () => {
    const { container } = await gatewayOf()
    expect(flag(container, 'sealing-key-file')).toBe('/etc/parley/sealing-key/keys')
    expect(flag(container, 'tenants')).toBeUndefined()
    const alone = await gatewayOf({ controller: { enabled: false }, tenants: { existingSecret: 'mine' } })
    // Guest tokens are signed with keys derived from the sealing key, also without a catalog.
    expect(flag(alone.container, 'sealing-key-file')).toBe('/etc/parley/sealing-key/keys')
    expect(flag(alone.container, 'tenants')).toBe('/etc/parley/tenants')
    expect(alone.deployment.spec.template.spec.volumes).toEqual([
      { name: 'sealing-key', secret: { secretName: 'parley-sealing-key' } },
      { name: 'tenants', secret: { secretName: 'mine' } },
    ])
    expect(kinds(alone.objects).filter((name) => /controller/.test(name))).toEqual([])
  })
})

describe('termination', () => {
  test('has a grace period of the sleep, the drain and the margin together', async () => {
    const gateway = { preStopSleepSeconds: 7, drainWindowSeconds: 100, terminationMarginSeconds: 11 }
    const { container, deployment } = await gatewayOf({ gateway })
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBe(118)
    expect(container.lifecycle).toEqual({ preStop: { sleep: { seconds: 7 } } })
  })

  test('can have a longer grace period', async () => {
    const { deployment } = await gatewayOf({ gateway: { terminationGracePeriodSeconds: 600 } })
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBe(600)
  })

  test('refuses a shorter grace period', async () => {
    expect(await refusal({ gateway: { terminationGracePeriodSeconds: 89 } })).toMatch(
      /terminationGracePeriodSeconds is 89, but a pod needs 90/,
    )
    expect(await refusal({ gateway: { terminationGracePeriodSeconds: 90 } })).toBeUndefined()
  })

  test('omits a preStop sleep of zero seconds, which older API servers refuse', async () => {
    const { container } = await gatewayOf({ gateway: { preStopSleepSeconds: 0 } })
    expect(container.lifecycle).toBeUndefined()
  })
})

describe('scaling', () => {
  test('sets no number of replicas with an HPA', async () => {
    const { deployment, objects } = await gatewayOf()
    expect(deployment.spec).not.toHaveProperty('replicas')
    expect(find(objects, 'HorizontalPodAutoscaler').spec).toMatchObject({
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'parley-gateway' },
      minReplicas: 2,
      maxReplicas: 10,
      metrics: [
        {
          type: 'Pods',
          pods: {
            metric: { name: 'parley_gateway_connections' },
            target: { type: 'AverageValue', averageValue: '14000' },
          },
        },
      ],
      behavior: {
        scaleUp: { stabilizationWindowSeconds: 0 },
        scaleDown: { stabilizationWindowSeconds: 900, selectPolicy: 'Min' },
      },
    })
  })

  test('sets no number of replicas with KEDA, which ignores missing metrics', async () => {
    const keda = { serverAddress: 'http://prometheus:9090' }
    const { deployment, objects } = await gatewayOf({
      autoscaling: { provider: 'keda', targetConnections: 500, keda },
    })
    expect(deployment.spec).not.toHaveProperty('replicas')
    expect(kinds(objects)).not.toContain('HorizontalPodAutoscaler parley-gateway')
    const { spec } = find(objects, 'ScaledObject')
    expect(spec).toMatchObject({
      minReplicaCount: 2,
      maxReplicaCount: 10,
      fallback: { failureThreshold: 3, replicas: 2, behavior: 'currentReplicasIfHigher' },
      triggers: [{ type: 'prometheus', metadata: { ...keda, threshold: '500', ignoreNullValues: 'false' } }],
    })
    expect(spec.triggers[0].metadata.query).toBe(
      'sum(parley_gateway_connections{namespace="chat",pod=~"parley-gateway-.+"})',
    )
  })

  test('sets the number of replicas without autoscaling', async () => {
    const { deployment, objects } = await gatewayOf({
      autoscaling: { provider: 'none' },
      gateway: { replicas: 5 },
    })
    expect(deployment.spec.replicas).toBe(5)
    expect(objects.filter(({ kind }) => /Autoscaler|ScaledObject/.test(kind))).toEqual([])
  })

  const keda = { provider: 'keda', keda: { serverAddress: 'http://prometheus:9090' } }

  test.each([
    ['custom-metrics', { provider: 'custom-metrics' }, 'parley-gateway'],
    ['keda', keda, 'keda-hpa-parley-gateway'],
  ])('with %s the controller may read only that autoscaler', async (_, autoscaling, name) => {
    const { objects } = await gatewayOf({ autoscaling })
    const [container] = find(objects, 'Deployment', '-controller').spec.template.spec.containers
    expect(flag(container, 'gateway-hpa')).toBe(name)
    const { matchLabels } = find(objects, 'Deployment', '-gateway').spec.selector
    const pairs = (flag(container, 'gateway-selector') ?? '').split(',').map((pair) => pair.split('='))
    expect(Object.fromEntries(pairs)).toEqual(matchLabels)
    expect(find(objects, 'Role', '-controller-scaling').rules).toEqual([
      expect.objectContaining({ resourceNames: [name], verbs: ['list', 'watch'] }),
      { apiGroups: [''], resources: ['pods'], verbs: ['list', 'patch'] },
    ])
    const { roleRef, subjects } = find(objects, 'RoleBinding', '-controller-scaling')
    expect(roleRef).toMatchObject({ kind: 'Role', name: 'parley-controller-scaling' })
    expect(subjects).toEqual([{ kind: 'ServiceAccount', name: 'parley-controller', namespace: 'chat' }])
  })

  test.each([
    ['autoscaling is disabled', { autoscaling: { provider: 'none' } }],
    ['there is no controller', { controller: { enabled: false }, tenants: { existingSecret: 'mine' } }],
    ['the chart creates no roles', { rbac: { create: false } }],
  ])('when %s the controller has no permissions on pods', async (_, values) => {
    expect(kinds((await gatewayOf(values)).objects).filter((name) => name.endsWith('-scaling'))).toEqual([])
  })

  test('refuses a target above the maximum of connections', async () => {
    const autoscaling = { targetConnections: 1001 }
    expect(await refusal({ autoscaling, gateway: { maxConnections: 1000 } })).toMatch(
      /a pod would be full before the autoscaler adds another one/,
    )
  })
})

describe('rollouts and evictions', () => {
  test('remove no pod before its replacement is ready', async () => {
    const { deployment } = await gatewayOf()
    expect(deployment.spec.minReadySeconds).toBe(15)
    expect(deployment.spec.strategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 0, maxSurge: '25%' },
    })
  })

  test('are limited for healthy pods only', async () => {
    const { objects } = await gatewayOf()
    expect(find(objects, 'PodDisruptionBudget', '-gateway').spec).toMatchObject({
      maxUnavailable: '10%',
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
    })
  })

  test('keep the pods of one revision spread over zones and hosts', async () => {
    const { deployment } = await gatewayOf()
    const spread = deployment.spec.template.spec.topologySpreadConstraints
    expect(spread.map((constraint: Tree) => constraint.topologyKey)).toEqual([
      'topology.kubernetes.io/zone',
      'kubernetes.io/hostname',
    ])
    for (const constraint of spread) expect(constraint.matchLabelKeys).toEqual(['pod-template-hash'])
    const none = await gatewayOf({ gateway: { topologySpread: '' } })
    expect(none.deployment.spec.template.spec).not.toHaveProperty('topologySpreadConstraints')
  })
})

describe('exposure', () => {
  test('is a Service with a WebSocket appProtocol and without the ops port', async () => {
    const { objects } = await gatewayOf()
    expect(find(objects, 'Service', '-gateway').spec.ports).toEqual([
      { name: 'clients', port: 80, targetPort: 'clients', appProtocol: 'kubernetes.io/ws' },
    ])
  })

  test('with TLS at the pods has a wss appProtocol and URL, and mounts the whole Secret', async () => {
    const tls = { existingSecret: 'certificate' }
    const { container, deployment, objects } = await gatewayOf({ gateway: { tls } })
    expect(find(objects, 'Service', '-gateway').spec.ports).toEqual([
      { name: 'clients', port: 443, targetPort: 'clients', appProtocol: 'kubernetes.io/wss' },
    ])
    expect(publicUrl(objects)).toBe('wss://parley-gateway.chat.svc.cluster.local')
    expect(flag(container, 'tls-cert-file')).toBe('/etc/parley/tls/tls.crt')
    expect(flag(container, 'tls-key-file')).toBe('/etc/parley/tls/tls.key')
    // There is no `subPath`: a file mounted that way is never updated.
    expect(container.volumeMounts).toContainEqual({
      name: 'tls',
      mountPath: '/etc/parley/tls',
      readOnly: true,
    })
    const { volumes } = deployment.spec.template.spec
    expect(volumes).toContainEqual({ name: 'tls', secret: { secretName: 'certificate' } })
    expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'ops' })
    expect(JSON.stringify(find(objects, 'Deployment', '-controller'))).not.toContain('certificate')
  })

  test('takes the port and its appProtocol from the values, with or without TLS', async () => {
    const service = { port: 8443, appProtocol: '' }
    const tls = { existingSecret: 'certificate' }
    const { objects } = await gatewayOf({ gateway: { service, tls } })
    expect(find(objects, 'Service', '-gateway').spec.ports).toEqual([
      { name: 'clients', port: 8443, targetPort: 'clients' },
    ])
    expect(publicUrl(objects)).toBe('wss://parley-gateway.chat.svc.cluster.local:8443')
  })

  test('has a liveness probe on /healthz and a readiness probe on /readyz', async () => {
    const { container } = await gatewayOf()
    expect(container.livenessProbe.httpGet).toEqual({ path: '/healthz', port: 'ops' })
    expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'ops' })
  })

  test('needs neither a service account token nor permissions', async () => {
    const { deployment, objects } = await gatewayOf()
    expect(deployment.spec.template.spec.automountServiceAccountToken).toBe(false)
    expect(find(objects, 'ServiceAccount', '-gateway').automountServiceAccountToken).toBe(false)
    const bound = objects
      .filter(({ kind }) => kind.endsWith('RoleBinding'))
      .flatMap(({ subjects }) => subjects)
    expect(bound.filter(({ name }) => name === 'parley-gateway')).toEqual([])
  })

  test('by HTTPRoute or Ingress needs one value, and sets the public URL', async () => {
    const { objects } = await gatewayOf()
    expect(objects.filter(({ kind }) => kind === 'HTTPRoute' || kind === 'Ingress')).toEqual([])
    expect(publicUrl(objects)).toBe('ws://parley-gateway.chat.svc.cluster.local')

    const httpRoute = { enabled: true, parentRefs: [{ name: 'public' }], hostnames: ['chat.example.com'] }
    const routed = await render({ httpRoute })
    expect(find(routed, 'HTTPRoute').spec).toEqual({
      parentRefs: [{ name: 'public' }],
      hostnames: ['chat.example.com'],
      rules: [
        {
          matches: [{ path: { type: 'PathPrefix', value: '/' } }],
          backendRefs: [{ name: 'parley-gateway', port: 80 }],
        },
      ],
    })
    expect(publicUrl(routed)).toBe('wss://chat.example.com')

    const tls = [{ hosts: ['chat.example.com'], secretName: 'certificate' }]
    const ingress = { enabled: true, className: 'haproxy', hosts: ['chat.example.com'], tls }
    const exposed = await render({ ingress })
    expect(find(exposed, 'Ingress').spec).toMatchObject({ ingressClassName: 'haproxy', tls })
    expect(publicUrl(exposed)).toBe('wss://chat.example.com')
    expect(publicUrl(await render({ ingress: { ...ingress, tls: [] } }))).toBe('ws://chat.example.com')
  })
})

function publicUrl(objects: Tree[]): string | undefined {
  const { spec } = find(objects, 'Deployment', '-controller')
  return flag(spec.template.spec.containers[0], 'public-url')
}
