"""What each resource type of infra/ has, as far as infra/ uses it: Azure takes a misspelt property without a word, and ignores it.

Looked up in Microsoft's own type descriptions of these versions (github.com/Azure/bicep-types-az, of 2026-08-20). `!` means that the property
must be there when what it belongs to is; `*` stands for any name, `[]` for an element of a list.
Only siteUpdateStrategy is not in those descriptions: Microsoft's page "Site update strategies in Flex Consumption" has it.
"""


class Shape:
    def __init__(self, words):
        self.required = {word[:-1] for word in words.split() if word.endswith("!")}
        self.all = {word.rstrip("!") for word in words.split()}
        self.open = tuple(path.removesuffix("*") for path in self.all if path.endswith("*"))

    def knows(self, path):
        return path in self.all or path.startswith(self.open)

    def missing(self, there):
        """Required properties that are not there although what they belong to is."""
        for path in self.required - there:
            owner = path.rpartition(".")[0].removesuffix("[]")
            if not owner or owner in there:
                yield path


SHAPES = {
    "Microsoft.Authorization/locks@2020-05-01": Shape("""
        name! properties! properties.level! properties.notes
    """),
    "Microsoft.Authorization/roleAssignments@2022-04-01": Shape("""
        name! properties! properties.principalId! properties.principalType properties.roleDefinitionId!
    """),
    "Microsoft.Insights/actionGroups@2023-01-01": Shape("""
        name! location! tags properties properties.groupShortName! properties.enabled! properties.emailReceivers
        properties.emailReceivers[].name! properties.emailReceivers[].emailAddress!
        properties.emailReceivers[].useCommonAlertSchema
    """),
    "Microsoft.Insights/components@2020-02-02": Shape("""
        name! location! tags kind! properties properties.Application_Type! properties.WorkspaceResourceId
        properties.IngestionMode properties.DisableLocalAuth
    """),
    "Microsoft.Insights/metricAlerts@2018-03-01": Shape("""
        name! location! tags properties! properties.description properties.severity! properties.enabled!
        properties.scopes! properties.evaluationFrequency! properties.windowSize! properties.autoMitigate
        properties.criteria! properties.criteria.odata.type! properties.criteria.webTestId!
        properties.criteria.componentId! properties.criteria.failedLocationCount! properties.actions
        properties.actions[].actionGroupId
    """),
    "Microsoft.Insights/scheduledQueryRules@2023-12-01": Shape("""
        name! location! tags kind properties! properties.displayName properties.description properties.severity
        properties.enabled properties.scopes properties.evaluationFrequency properties.windowSize
        properties.autoMitigate properties.criteria properties.criteria.allOf properties.criteria.allOf[].query
        properties.criteria.allOf[].timeAggregation properties.criteria.allOf[].dimensions
        properties.criteria.allOf[].dimensions[].name! properties.criteria.allOf[].dimensions[].operator!
        properties.criteria.allOf[].dimensions[].values! properties.criteria.allOf[].operator
        properties.criteria.allOf[].threshold properties.criteria.allOf[].failingPeriods
        properties.criteria.allOf[].failingPeriods.numberOfEvaluationPeriods
        properties.criteria.allOf[].failingPeriods.minFailingPeriodsToAlert properties.actions
        properties.actions.actionGroups
    """),
    "Microsoft.Insights/webtests@2022-06-15": Shape("""
        name! location! tags tags.* kind properties properties.SyntheticMonitorId! properties.Name!
        properties.Description properties.Enabled properties.Frequency properties.Timeout properties.Kind!
        properties.RetryEnabled properties.Locations! properties.Locations[].Id properties.Request
        properties.Request.RequestUrl properties.Request.HttpVerb properties.Request.ParseDependentRequests
        properties.ValidationRules properties.ValidationRules.ExpectedHttpStatusCode properties.ValidationRules.SSLCheck
        properties.ValidationRules.SSLCertRemainingLifetimeCheck
    """),
    "Microsoft.Insights/workbooks@2023-06-01": Shape("""
        name! location! tags kind properties properties.displayName! properties.category! properties.sourceId
        properties.version properties.serializedData!
    """),
    "Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31": Shape("""
        name! location! tags
    """),
    "Microsoft.OperationalInsights/workspaces@2023-09-01": Shape("""
        name! location! tags properties properties.sku properties.sku.name! properties.retentionInDays
        properties.workspaceCapping properties.workspaceCapping.dailyQuotaGb properties.features
        properties.features.enableLogAccessUsingOnlyResourcePermissions
    """),
    "Microsoft.Resources/resourceGroups@2024-11-01": Shape("""
        name! location! tags
    """),
    "Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01": Shape("""
        name!
    """),
    "Microsoft.Storage/storageAccounts/blobServices@2024-01-01": Shape("""
        name!
    """),
    "Microsoft.Storage/storageAccounts@2024-01-01": Shape("""
        name! location! tags sku! sku.name! kind! properties properties.allowSharedKeyAccess
        properties.allowBlobPublicAccess properties.allowCrossTenantReplication properties.defaultToOAuthAuthentication
        properties.minimumTlsVersion properties.supportsHttpsTrafficOnly
    """),
    "Microsoft.Web/serverfarms@2024-11-01": Shape("""
        name! location! tags kind sku sku.tier sku.name properties properties.reserved
    """),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01": Shape("""
        name! properties properties.allow!
    """),
    "Microsoft.Web/sites/config@2024-11-01": Shape("""
        name! properties properties.*
    """),
    "Microsoft.Web/sites@2024-11-01": Shape("""
        name! location! tags tags.* kind identity identity.type identity.userAssignedIdentities
        identity.userAssignedIdentities.* properties properties.serverFarmId properties.httpsOnly properties.siteConfig
        properties.siteConfig.minTlsVersion properties.functionAppConfig properties.functionAppConfig.deployment
        properties.functionAppConfig.deployment.storage properties.functionAppConfig.deployment.storage.type
        properties.functionAppConfig.deployment.storage.value
        properties.functionAppConfig.deployment.storage.authentication
        properties.functionAppConfig.deployment.storage.authentication.type
        properties.functionAppConfig.deployment.storage.authentication.userAssignedIdentityResourceId
        properties.functionAppConfig.runtime properties.functionAppConfig.runtime.name
        properties.functionAppConfig.runtime.version properties.functionAppConfig.scaleAndConcurrency
        properties.functionAppConfig.scaleAndConcurrency.instanceMemoryMB
        properties.functionAppConfig.scaleAndConcurrency.maximumInstanceCount
        properties.functionAppConfig.scaleAndConcurrency.alwaysReady
        properties.functionAppConfig.scaleAndConcurrency.alwaysReady[].name
        properties.functionAppConfig.scaleAndConcurrency.alwaysReady[].instanceCount
        properties.functionAppConfig.scaleAndConcurrency.triggers
        properties.functionAppConfig.scaleAndConcurrency.triggers.http
        properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency
        properties.functionAppConfig.siteUpdateStrategy properties.functionAppConfig.siteUpdateStrategy.type
    """),
}
