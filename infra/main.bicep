// Everything that scimgate needs on Azure, in one resource group: azd up, or
//   az deployment sub create --location <region> --template-file infra/main.bicep --parameters environmentName=prod location=<region> principalId=<object id>
targetScope = 'subscription'

@minLength(1)
@maxLength(32)
@description('Names the environment; part of every name.')
param environmentName string

@minLength(1)
@description('Region of everything. It must offer Flex Consumption and, for the default of storageSku, availability zones.')
param location string

@description('Object id of whoever deploys: gets the role with which operators make tenants from their own machines. Empty: nobody does.')
param principalId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
@description('What principalId is.')
param principalType string = 'User'

@description('Where alerts are mailed to. Empty: alerts are raised and mailed to nobody.')
param alertEmail string = ''

@allowed(['Standard_ZRS', 'Standard_GZRS', 'Standard_LRS', 'Standard_GRS'])
@description('Redundancy of the storage account. Without it every customer has to provision anew: LRS loses it with one data centre.')
param storageSku string = 'Standard_ZRS'

@allowed([512, 2048, 4096])
@description('Memory of an instance. The platform gives CPU in proportion to it.')
param instanceMemoryMB int = 2048

@minValue(40)
@maxValue(1000)
@description('Most instances. Each has its own rate limit for each tenant.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(20)
@description('Instances that are always there for HTTP. 0 costs nothing while nobody asks, and the first request waits for a cold start.')
param alwaysReady int = 1

@minValue(1)
@maxValue(1000)
@description('Requests at once on one instance before the platform adds another. scimgate bounds its own work, so more than the platform gives by default.')
param httpConcurrency int = 100

@allowed(['Recreate', 'RollingUpdate'])
@description('What a deployment or a changed setting does to instances. Recreate, the default of the platform: all are ended at once, running requests with them (a write among them is done or not, never by half, and Entra sends it again), and there is a gap until new ones are up. RollingUpdate, a preview when this was written: one batch after the other is drained first, and two versions run side by side for a while, which scimgate is built for. docs/deploy.md has figures.')
param siteUpdateStrategy string = 'Recreate'

@description('Scheme and host that customers use, when it is another than the app has by itself: https://scim.example.com')
param publicUrl string = ''

@description('Where customers get help; named in errors that they cannot mend themselves.')
param support string = ''

@description('Base paths of an earlier endpoint that keep working, separated by commas.')
param basePaths string = ''

@minValue(1)
@maxValue(200)
@description('Seconds until a request is answered 503; below the time-out of whatever stands in front.')
param deadlineSeconds int = 15

@minValue(0)
@description('Requests a second that each tenant may send to each instance; 0 is no limit, else at least 25.')
param tenantRate int = 200

@minValue(0)
@maxValue(3650)
@description('Days for which a deleted user or group can be restored.')
param deletedDays int = 30

@minValue(1)
@maxValue(3650)
@description('Days for which the log of changes, refusals and operators\' deeds is kept.')
param historyDays int = 365

@minValue(1)
@description('Gigabytes of telemetry a day, after which nothing is recorded until the next. An alert comes at 80 % of it.')
param dailyCapGb int = 5

@minValue(30)
@maxValue(730)
@description('Days that telemetry is kept.')
param retentionDays int = 90

@minValue(1)
@maxValue(100)
@description('Of 100 fast, successful calls to storage, how many are recorded. Requests and failures always are.')
param successSampling int = 10

@description('Telemetry is taken from the identity of the app only, not from whoever knows the connection string.')
param telemetryByIdentityOnly bool = true

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-scimgate-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-scimgate-${token}'
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'stscim${token}'
    location: location
    tags: tags
    sku: storageSku
    appPrincipalId: identity.outputs.principalId
    operatorPrincipalId: principalId
    operatorPrincipalType: principalType
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    name: 'scimgate-${token}'
    location: location
    tags: tags
    dailyCapGb: dailyCapGb
    retentionDays: retentionDays
    byIdentityOnly: telemetryByIdentityOnly
    appPrincipalId: identity.outputs.principalId
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: 'func-scimgate-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    packageContainerUrl: storage.outputs.packageContainerUrl
    insightsConnectionString: monitoring.outputs.connectionString
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReady: alwaysReady
    httpConcurrency: httpConcurrency
    siteUpdateStrategy: siteUpdateStrategy
    settings: {
      SCIMGATE_STORE: 'tables:'
      SCIMGATE_TABLES_ENDPOINT: storage.outputs.tableEndpoint
      SCIMGATE_PUBLIC_URL: publicUrl
      SCIMGATE_SUPPORT: support
      SCIMGATE_BASE_PATHS: basePaths
      SCIMGATE_DEADLINE: string(deadlineSeconds)
      SCIMGATE_TENANT_RATE: string(tenantRate)
      SCIMGATE_RETENTION_DAYS: string(deletedDays)
      SCIMGATE_HISTORY_DAYS: string(historyDays)
      SCIMGATE_TELEMETRY_SAMPLE: string(successSampling)
    }
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    insightsId: monitoring.outputs.insightsId
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    insightsId: monitoring.outputs.insightsId
    workspaceId: monitoring.outputs.workspaceId
    email: alertEmail
    dailyCapGb: dailyCapGb
    expectsHeartbeat: alwaysReady > 0
  }
}

module availability 'modules/availability.bicep' = {
  name: 'availability'
  scope: group
  params: {
    location: location
    tags: tags
    insightsId: monitoring.outputs.insightsId
    url: '${empty(publicUrl) ? app.outputs.url : publicUrl}/health/ready'
    actionGroupId: alerts.outputs.actionGroupId
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output SCIMGATE_TABLES_ENDPOINT string = storage.outputs.tableEndpoint
output SCIMGATE_PUBLIC_URL string = empty(publicUrl) ? app.outputs.url : publicUrl
output SCIMGATE_FUNCTION_APP string = app.outputs.name
