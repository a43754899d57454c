################################################################################
#
# siskin
#
################################################################################

SISKIN_VERSION = 0.1.0
SISKIN_SITE = $(BR2_EXTERNAL_SISKIN_PATH)/sources
SISKIN_SITE_METHOD = file
# Packages of crates have another default.
# check-package disable lib_mk.RemoveDefaultPackageSourceVariable
SISKIN_SOURCE = siskin-$(SISKIN_VERSION).tar.gz
SISKIN_LICENSE = MIT or Apache-2.0
SISKIN_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
SISKIN_INSTALL_STAGING = YES

ifeq ($(BR2_PACKAGE_SISKIN_WHOLE),y)
SISKIN_PROFILE = dist
else
SISKIN_PROFILE = small
SISKIN_FEATURES = --no-default-features \
	--features types,avx512-vnni,avx-vnni,neon-i8mm,neon-dotprod
endif

# The profiles of the program and the library are Siskin's own: kernels are
# optimized for speed, and the rest for size, whatever the board's packages are.
SISKIN_CARGO_ENV = CARGO_PROFILE_RELEASE_OPT_LEVEL=3
SISKIN_CARGO = cd $(@D) && \
	$(TARGET_MAKE_ENV) $(TARGET_CONFIGURE_OPTS) $(PKG_CARGO_ENV) \
	$(SISKIN_CARGO_ENV) cargo build --offline --locked

SISKIN_BUILT = $(@D)/target/$(RUSTC_TARGET_NAME)

ifeq ($(BR2_PACKAGE_SISKIN_PROGRAM),y)
define SISKIN_BUILD_PROGRAM
	$(SISKIN_CARGO) --package siskin-cli --bin siskin \
		--profile $(SISKIN_PROFILE) $(SISKIN_FEATURES)
endef
define SISKIN_INSTALL_PROGRAM
	$(INSTALL) -D -m 0755 $(SISKIN_BUILT)/$(SISKIN_PROFILE)/siskin \
		$(TARGET_DIR)/usr/bin/siskin
endef
endif

ifeq ($(BR2_PACKAGE_SISKIN_LIBRARY),y)
SISKIN_INSTALL_C = CC="$(TARGET_CC)" $(@D)/engine/c/install /usr \
	--archive $(SISKIN_BUILT)/library/libsiskin_c.a
define SISKIN_BUILD_LIBRARY
	$(SISKIN_CARGO) --package siskin-c --profile library
endef
define SISKIN_INSTALL_STAGING_CMDS
	$(SISKIN_INSTALL_C) --destdir $(STAGING_DIR)
endef
define SISKIN_INSTALL_LIBRARY
	$(SISKIN_INSTALL_C) --destdir $(TARGET_DIR)
endef
endif

ifneq ($(call qstrip,$(BR2_PACKAGE_SISKIN_MODEL)),)
define SISKIN_INSTALL_MODEL
	$(INSTALL) -D -m 0644 $(call qstrip,$(BR2_PACKAGE_SISKIN_MODEL)) \
		$(TARGET_DIR)/usr/share/siskin/model.gguf
endef
endif

define SISKIN_BUILD_CMDS
	$(SISKIN_BUILD_PROGRAM)
	$(SISKIN_BUILD_LIBRARY)
endef

define SISKIN_INSTALL_TARGET_CMDS
	$(SISKIN_INSTALL_PROGRAM)
	$(SISKIN_INSTALL_LIBRARY)
	$(SISKIN_INSTALL_MODEL)
endef

ifeq ($(BR2_PACKAGE_SISKIN_WHOLE),y)
define SISKIN_USERS
	siskin -1 siskin -1 * /var/lib/siskin - - Siskin
endef

define SISKIN_PERMISSIONS
	/var/cache/siskin d 700 siskin siskin - - - - -
endef

define SISKIN_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/targets/packages/debian/siskin.service \
		$(TARGET_DIR)/usr/lib/systemd/system/siskin.service
	$(INSTALL) -D -m 0644 $(@D)/targets/packages/debian/serve.conf \
		$(TARGET_DIR)/etc/siskin/serve.conf
endef

define SISKIN_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(SISKIN_PKGDIR)/S80siskin \
		$(TARGET_DIR)/etc/init.d/S80siskin
	$(INSTALL) -D -m 0644 $(@D)/targets/packages/debian/serve.conf \
		$(TARGET_DIR)/etc/siskin/serve.conf
endef
endif

$(eval $(cargo-package))
