include $(sort $(wildcard $(BR2_EXTERNAL_SISKIN_PATH)/package/*/*.mk))
